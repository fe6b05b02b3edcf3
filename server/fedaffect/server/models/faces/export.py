"""From a trained pair to the files that are committed, and what they reach on FER+."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedaffect.edge.system.onnx_session import open_session
from fedaffect.server.models.bundling.expression import as_feed, export_student_int8
from fedaffect.server.models.faces.distil import accuracy, probabilities
from fedaffect.server.models.faces.network import BothViews, ExpressionNet
from fedaffect.server.models.faces.votes import Faces
from fedaffect.server.models.faces.weights import (
    STUDENT,
    STUDENT_INT8,
    TEACHER,
    load_student,
    load_teacher,
    save_student,
    save_teacher,
)

_CALIBRATION: Final = 400


@dataclass(frozen=True, slots=True)
class Reached:
    """Accuracy on one split of FER+, 8 classes, faces that the published rule keeps.

    Parameters
    ----------
    faces : int
        How many.
    teacher : float
        As the cloud uses it: convolutions stored as INT8, computed in FP32, features of both views.
    teacher_one_view : float
        The same without the mirror image.
    student : float
        Half precision, computed in FP32, features of both views.
    student_one_view : float
        The same without the mirror image.
    student_int8 : float
        As devices use it: the INT8 graph's features, of both views, under the student's head.
    int8_cosine : float
        Of INT8 features to FP32 ones.
    """

    faces: int
    teacher: float
    teacher_one_view: float
    student: float
    student_one_view: float
    student_int8: float
    int8_cosine: float

    def to_json(self) -> Mapping[str, Any]:
        """Rounded, for a model card."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def export_pair(teacher: ExpressionNet, student: ExpressionNet, train: Faces) -> None:
    """Write the three committed files; the INT8 graph's ranges come from training faces."""
    save_teacher(teacher.eval())
    save_student(student.eval())
    rows = np.random.default_rng(0).choice(len(train), min(_CALIBRATION, len(train)), replace=False)
    export_student_int8(load_student(), train.pictures[torch.from_numpy(rows), 0].numpy(), STUDENT_INT8)


def measure(faces: Faces) -> Reached:
    """What the committed files reach on a split."""
    student, teacher = load_student(), load_teacher()
    small = torch.from_numpy(int8_features(faces.pictures[:, 0].numpy(), STUDENT_INT8))
    full = _both_views(student, faces)
    with torch.no_grad():
        return Reached(
            faces=int(faces.published.sum()),
            teacher=accuracy(teacher.head(_both_views(teacher, faces)), faces),
            teacher_one_view=accuracy(probabilities(teacher, faces.pictures), faces),
            student=accuracy(student.head(full), faces),
            student_one_view=accuracy(probabilities(student, faces.pictures), faces),
            student_int8=accuracy(student.head(small), faces),
            int8_cosine=float(torch.nn.functional.cosine_similarity(full, small, dim=-1).mean()),
        )


@torch.no_grad()
def _both_views(network: ExpressionNet, faces: Faces) -> Tensor:
    views = BothViews(network).eval()
    return torch.cat([views(part.float().expand(-1, 3, -1, -1) / 255) for part in torch.split(faces.pictures, 256)])


def int8_features(pictures: NDArray[np.uint8], graph: Path) -> NDArray[np.float32]:
    """Features of grey faces (N, 48, 48) through an ONNX graph, shape (N, W)."""
    session = open_session(graph)
    return np.concatenate([session.run(None, as_feed(picture))[0] for picture in pictures])


def sizes() -> Mapping[str, int]:
    """Bytes of the committed files, by name."""
    return {path.name: path.stat().st_size for path in (TEACHER, STUDENT, STUDENT_INT8)}
