"""Importing the packages changes nothing outside them."""

from __future__ import annotations

import json
import subprocess
import sys

# What third parties do when they are imported is theirs: all is imported once, and then ours alone again, in
# an environment and with levels that nobody has set.
_PROGRAM = """
import importlib, json, logging, os, pkgutil, signal, sys, threading, warnings

OURS = ("streams", "trainers", "runner", "tribrain")

def import_ours():
    for root in OURS:
        package = importlib.import_module(root)
        for module in pkgutil.walk_packages(package.__path__, root + "."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    from streams.kafka.settings import Settings, admin_config, consumer_config, producer_config

    for config in (admin_config, consumer_config, producer_config):
        config(Settings(bootstrap_servers="127.0.0.1:9"))


def is_ours(name):
    return name.partition(".")[0] in OURS


def loggers():
    every = logging.root.manager.loggerDict.items()
    return {name: one for name, one in every if isinstance(one, logging.Logger) and not is_ours(name)}


def state():
    return {
        "environment": dict(os.environ),
        "signal handlers": {str(n): repr(signal.getsignal(n)) for n in signal.valid_signals()},
        "levels of loggers": {name: logger.level for name, logger in loggers().items()},
        "root logger": (logging.root.level, len(logging.root.handlers)),
        "modules": {name: id(module) for name, module in sys.modules.items() if not is_ours(name)},
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "warnings": [repr(each) for each in warnings.filters],
        "hooks": [repr(each) for each in (sys.excepthook, threading.excepthook, *sys.meta_path, *sys.path)],
    }


environment = dict(os.environ)
import_ours()
stand_ins = [name for name, one in sys.modules.items() if one is None or is_ours(type(one).__module__)]
librdkafka = [name for name in sys.modules if name.partition(".")[0] == "confluent_kafka"]
for name in [name for name in sys.modules if is_ours(name)]:
    del sys.modules[name]
os.environ.clear()
os.environ.update(environment)
for logger in loggers().values():
    logger.setLevel(7)
before = state()
import_ours()
after = state()
changed = [what for what in before if before[what] != after[what]]
json.dump({"changed": changed, "stand-ins": stand_ins, "librdkafka": librdkafka}, sys.stdout)
"""


def test_importing_every_module_changes_nothing_outside_the_packages_and_loads_no_librdkafka() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"changed": [], "stand-ins": [], "librdkafka": []}
