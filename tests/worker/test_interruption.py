"""When an interruption is sent at all. Threads that hear one are in `tests/process/test_interruption.py`."""

import threading

from spoils.outcome import Interrupted
from spoils.worker.interruption import Interruption


def test_a_thread_that_is_in_no_user_code_is_not_interrupted() -> None:
    interruption = Interruption()
    assert not interruption.interrupt(Interrupted)
    interruption.enter()
    interruption.leave()
    assert not interruption.interrupt(Interrupted)


def test_what_is_sent_to_a_thread_that_has_ended_hits_nobody() -> None:
    interruption = Interruption()
    gone = threading.Thread(target=interruption.enter)
    gone.start()
    gone.join()
    assert interruption.interrupt(Interrupted)
    assert interruption.interrupt(Interrupted)  # sent once
    interruption.leave()
    assert not interruption.interrupt(Interrupted)
