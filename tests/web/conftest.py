"""A project folder with results, made once."""

from __future__ import annotations

import pytest

from tests.web.site import Site, make_site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("site"))
