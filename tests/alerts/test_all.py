"""No alert is without a fault in which it is seen to fire."""

from __future__ import annotations

from tests.alerts import test_broker, test_page, test_runs, test_trainer
from tribrain.observability.alerts import ALERTS


def test_every_alert_has_a_fault_that_is_injected() -> None:
    of_modules = (
        test_broker.FAULTS,
        test_page.FAULTS,
        test_runs.FAULTS,
        test_runs.FAULTS_OF_A_DISK,
        test_trainer.FAULTS,
    )
    injected = {fault.alert for faults in of_modules for fault in faults.values()}
    assert injected == {alert.name for alert in ALERTS}
