"""The thread that looks at a machine every few seconds and writes what it sees."""

from __future__ import annotations

import threading
from pathlib import Path

from stoker.errors import StorageError
from stoker.run.events import EventWriter
from stoker_plugins.telemetry.gpus import Gpus
from stoker_plugins.telemetry.host import Host


class Sampler:
    """Writes a `host` line and a `gpu` line for each GPU at every interval, until it is stopped."""

    def __init__(self, samples: EventWriter, folder: Path, interval_seconds: float) -> None:
        """`folder`: whose file system is looked at."""
        self._samples = samples
        self._interval_seconds = interval_seconds
        self._host = Host(folder)
        self._over = threading.Event()
        self._messages: list[str] = []
        self._thread = threading.Thread(target=self._run, name="stoker-telemetry", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the sample that is being taken; a driver that hangs is not waited for."""
        self._over.set()
        self._thread.join(self._interval_seconds + 1.0)
        if not self._thread.is_alive():
            self._samples.close()

    def take_messages(self) -> list[str]:
        """Sentences for the events that nobody has taken yet."""
        messages, self._messages = self._messages, []
        return messages

    def _run(self) -> None:
        try:
            gpus = Gpus()
            self._samples.write(
                "gpus", available=not gpus.missing, count=gpus.count, reason=gpus.missing
            )
            if gpus.missing:
                self._messages.append(f"telemetry: numbers of GPUs are not available: {gpus.missing}")
            while not self._over.wait(self._interval_seconds):
                self._samples.write("host", **self._host.look())
                for sample in gpus.look():
                    self._samples.write("gpu", **sample)
            gpus.close()
        except StorageError as error:
            self._messages.append(f"telemetry: no more samples of this host: {error}")
        except Exception as error:
            # Whatever a driver does, training goes on.
            self._messages.append(
                f"telemetry: no more samples of this host: {type(error).__name__}: {error}"
            )
