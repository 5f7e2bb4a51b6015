"""Made-up landmarks of faces with given expressions."""

import numpy as np

from modules.face_landmarks import Expressions

SIDE = 80  # pixels between the outer corners of the eyes


def face(expressions: Expressions) -> np.ndarray:
    """Landmarks (68, 2) that have these expressions, in distances of the eyes' outer corners."""
    mouth, width, eyes, brows = (SIDE * float(value) for value in expressions)
    points = np.random.default_rng(0).uniform(20, 180, (68, 2))  # those that no expression needs
    points[36], points[45] = (60, 100), (60 + SIDE, 100)
    for x, upper, lower, brow in ((75, (37, 38), (40, 41), 19), (125, (43, 44), (46, 47), 24)):
        points[list(upper)], points[list(lower)] = (x, 95), (x, 95 + eyes)
        points[brow] = (x, 95 - brows)
    points[48], points[54] = (100 - width / 2, 150), (100 + width / 2, 150)
    points[62], points[66] = (100, 145), (100, 145 + mouth)
    return points


def moved(landmarks: np.ndarray, seed: int) -> np.ndarray:
    """Faces (N, 68, 2), each turned in the picture, scaled and shifted at random."""
    generator = np.random.default_rng(seed)
    angle, scale = generator.uniform(-1, 1, len(landmarks)), generator.uniform(0.5, 2, (2, 1, 1))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = np.einsum("ijn,nkj->nki", turn, landmarks)
    return turned * scale[0] + generator.uniform(-50, 50, (len(landmarks), 1, 2))


def talking(num_frames: int, seed: int = 0) -> np.ndarray:
    """Expressions (N, 4) of a face that moves everything, each by itself."""
    neutral, strength = np.array([0.1, 0.5, 0.12, 0.3]), np.array([0.05, 0.04, 0.03, 0.03])
    return neutral + strength * np.random.default_rng(seed).uniform(-1, 1, (num_frames, 4))


def faces(expressions: np.ndarray) -> np.ndarray:
    """Landmarks (N, 68, 2) of faces with the expressions (N, 4)."""
    return np.stack([face(Expressions(*each)) for each in expressions])
