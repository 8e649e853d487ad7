"""What the tiny base is taught to say: a short explanation for each emotion that a modality shows."""

from __future__ import annotations

EXPLANATIONS: dict[str, dict[str, str]] = {
    "text_keywords": {
        "neutral": "the words report facts without feeling",
        "happiness": "the words express joy and satisfaction",
        "surprise": "the words express welcome surprise",
        "sadness": "the words express sorrow and loss",
        "anger": "the words express anger and irritation",
        "disgust": "the words express disgust and aversion",
        "fear": "the words express fear and worry",
    },
    "facial_expression": {
        "neutral": "the face is relaxed and the mouth stays straight",
        "happiness": "the mouth corners are raised and the cheeks lifted",
        "surprise": "the eyes are wide and the brows raised with an open smile",
        "sadness": "the mouth corners drop and the inner brows rise",
        "anger": "the brows are lowered and the mouth is pressed",
        "disgust": "the nose is wrinkled and one side of the mouth is raised",
        "fear": "the eyes are wide and the mouth is stretched and trembling",
    },
    "prosody": {
        "neutral": "the pitch is level and the pace is even",
        "happiness": "the pitch is high and lively with a quick pace",
        "surprise": "the pitch rises sharply and the voice is bright",
        "sadness": "the pitch is low and falling with a slow pace",
        "anger": "the voice is loud and harsh with a fast pace",
        "disgust": "the voice is low and drawn out with a rough tone",
        "fear": "the voice is high and trembling with a hurried pace",
    },
}
