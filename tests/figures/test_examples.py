"""The images that figures show."""

from __future__ import annotations

import json

from icd.figures.examples import examples, read_truth, varied
from tests.figures.tracks import track


def things(*areas: float) -> list[dict]:
    return [{"area": area} for area in areas]


def test_varied_images_have_a_few_objects_of_different_sizes():
    assert varied(things(100, 400))
    assert varied(things(100, 400, 200, 150))
    assert not varied(things(100, 399))
    assert not varied(things(400))
    assert not varied(things())
    assert not varied(things(1, 2, 3, 4, 5))


def test_the_first_that_fit_come_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    objects = {3: [9, 90], 1: [9], 8: [5, 50, 5], 2: [7, 70], 0: [], 5: [50, 5], 6: [5, 50], 7: [0]}
    found = [(image, area) for image, areas in objects.items() for area in areas]
    annotations = [
        {"id": i, "image_id": image, "category_id": 1, "bbox": [0, 0, area, 1]}
        for i, (image, area) in enumerate(found, 1)
    ]
    annotations.append({**annotations[0], "id": 99, "iscrowd": 1})
    images = [
        {"id": image, "file_name": f"{image}.png", "width": 99, "height": 99} for image in objects
    ]
    content = {"images": images, "annotations": annotations}
    content["categories"] = [{"id": 1, "name": "disk"}]
    (tmp_path / "data").mkdir()
    (tmp_path / "data/test-1000.json").write_text(json.dumps(content))
    shown = examples(track(), read_truth(track()))
    assert [example.id for example in shown] == [2, 3, 5, 6]
    assert str(shown[0].file) == "data/test-1000/2.png"
    areas = [thing["area"] for thing in shown[1].objects]
    assert areas == [9, 90], "without the crowd; areas that the file leaves out filled in"

    content["images"] = [image for image in images if image["id"] in (0, 1, 7, 8)]
    kept = {image["id"] for image in content["images"]}
    content["annotations"] = [thing for thing in annotations if thing["image_id"] in kept]
    (tmp_path / "data/test-1000.json").write_text(json.dumps(content))
    shown = examples(track(), read_truth(track()))
    assert [example.id for example in shown] == [8, 1], "too few; never one without objects"
