"""Answers that the tiny base is trained on: a short explanation for each emotion that a modality shows, naming it first.

Without the names it would have to learn seven words from a few fine-tuning steps, which a large base has from its pre-training.
"""

from __future__ import annotations

EXPLANATIONS: dict[str, dict[str, str]] = {
    "text_keywords": {
        "neutral": "neutral words that report facts",
        "happiness": "happiness and satisfaction in the words",
        "surprise": "surprise and wonder in the words",
        "sadness": "sadness and loss in the words",
        "anger": "anger and irritation in the words",
        "disgust": "disgust and aversion in the words",
        "fear": "fear and worry in the words",
    },
    "facial_expression": {
        "neutral": "neutral face, relaxed with a straight mouth",
        "happiness": "happiness in the face, mouth corners raised and cheeks lifted",
        "surprise": "surprise in the face, wide eyes and an open smile",
        "sadness": "sadness in the face, mouth corners down and inner brows up",
        "anger": "anger in the face, brows lowered and mouth pressed",
        "disgust": "disgust in the face, nose wrinkled and lip raised",
        "fear": "fear in the face, wide eyes and a stretched mouth",
    },
    "prosody": {
        "neutral": "neutral voice, level in pitch and even in pace",
        "happiness": "happiness in the voice, high and lively with a quick pace",
        "surprise": "surprise in the voice, rising sharply and bright",
        "sadness": "sadness in the voice, low and falling with a slow pace",
        "anger": "anger in the voice, loud and harsh with a fast pace",
        "disgust": "disgust in the voice, low and drawn out with a rough tone",
        "fear": "fear in the voice, high and trembling with a hurried pace",
    },
}
