"""What the tiny base is taught to say: a short explanation for each emotion that a modality shows, naming it."""

from __future__ import annotations

EXPLANATIONS: dict[str, dict[str, str]] = {
    "text_keywords": {
        "neutral": "neutral words report facts without feeling",
        "happiness": "the words tell of happiness and satisfaction",
        "surprise": "the words tell of surprise and wonder",
        "sadness": "the words tell of sadness and loss",
        "anger": "the words tell of anger and irritation",
        "disgust": "the words tell of disgust and aversion",
        "fear": "the words tell of fear and worry",
    },
    "facial_expression": {
        "neutral": "a neutral face, relaxed with a straight mouth",
        "happiness": "a face of happiness, mouth corners raised and cheeks lifted",
        "surprise": "a face of surprise, wide eyes and an open smile",
        "sadness": "a face of sadness, mouth corners down and inner brows up",
        "anger": "a face of anger, brows lowered and mouth pressed",
        "disgust": "a face of disgust, nose wrinkled and lip raised",
        "fear": "a face of fear, wide eyes and a stretched mouth",
    },
    "prosody": {
        "neutral": "a neutral voice, level in pitch and even in pace",
        "happiness": "a voice of happiness, high and lively with a quick pace",
        "surprise": "a voice of surprise, rising sharply and bright",
        "sadness": "a voice of sadness, low and falling with a slow pace",
        "anger": "a voice of anger, loud and harsh with a fast pace",
        "disgust": "a voice of disgust, low and drawn out with a rough tone",
        "fear": "a voice of fear, high and trembling with a hurried pace",
    },
}
