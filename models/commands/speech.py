"""Lets eSpeak NG speak: reads [[text, voice, words per minute, pitch], …] as JSON, writes the waveforms as .npz.

A program of its own, because the engine's output depends on what it has spoken before in the same process: a fresh process
that is given the same list writes the same waveforms. Needs the package espeakng-loader, which carries the engine.
"""

import ctypes
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_SYNCHRONOUS = 2
_RATE, _PITCH = 1, 3
_CHARACTERS, _UTF_8 = 1, 1
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Engine:
    """eSpeak NG, through its C interface (speak_lib.h)."""

    def __init__(self) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self.samples_per_second = int(self._library.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0))
        if self.samples_per_second < 0:
            raise RuntimeError("eSpeak NG could not start")
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # of the noise in breathy voices; by itself the engine takes the time
        self._parts: list[NDArray[np.int16]] = []
        self._callback = _CALLBACK(self._receive)  # kept: the library calls it later
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _: int | None) -> int:
        if samples and count:
            self._parts.append(np.ctypeslib.as_array(samples, (count,)).astype(np.int16))
        return 0

    def speak(self, text: str, voice: str, words_per_minute: int, pitch: int) -> NDArray[np.int16]:
        """The waveform [samples]. voice: such as gmw/en-US+f3. pitch: 0 to 100. Raises ValueError: there is no such voice."""
        self._parts.clear()
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"eSpeak NG has no voice {voice!r}")
        self._library.espeak_SetParameter(_RATE, words_per_minute, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        spoken = text.encode()
        self._library.espeak_Synth(spoken, len(spoken) + 1, 0, _CHARACTERS, 0, _UTF_8, None, None)
        self._library.espeak_Synchronize()
        return np.concatenate(self._parts)


def main(wanted: Path, written: Path) -> None:
    """Speaks the list of one file into the other: `samples`, all waveforms one after the other, the `lengths` of each, and
    `samples_per_second`."""
    engine = Engine()
    waveforms = [engine.speak(*utterance) for utterance in json.loads(wanted.read_text(encoding="utf-8"))]
    lengths = [len(waveform) for waveform in waveforms]
    np.savez(written, samples=np.concatenate(waveforms), lengths=lengths, samples_per_second=engine.samples_per_second)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
