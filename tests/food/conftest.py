"""The food service's pages and endpoints, seen through the fixtures of the web program."""

from tests.web.conftest import *  # noqa: F403
from tests.web.dashboard.conftest import *  # noqa: F403
