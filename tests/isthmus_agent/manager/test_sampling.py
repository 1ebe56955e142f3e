"""Samples in the manager: when leave is given, what is taken, and what becomes of it on its way."""

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from tests.isthmus_agent.formats.test_samples import PRIVATE, PUBLIC, REPORT_KEY, SAMPLE
from toolchain.testing import patience

from isthmus_agent import channel
from isthmus_agent.formats import samples, x25519
from isthmus_agent.formats.samples import Object, Sample
from isthmus_agent.formats.samples_wanted import MOST_SAMPLE_BYTES, SamplesWanted
from isthmus_agent.manager.failures import TransportFailure
from isthmus_agent.manager.mailing import MOST_HELD_BYTES, Mailing
from isthmus_agent.manager.reporter import Sender
from isthmus_agent.manager.sampling import Sampling
from isthmus_agent.manager.transport import Transport

URL, WANTED = "http://store/models/", SamplesWanted(PUBLIC, 500_000, most_per_day=864)
LARGE = replace(SAMPLE, request=b"x" * 200_000)


class Store(Transport):
    """Takes what it is given once it answers; fails before."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, bytes] = {}
        self.tries = 0
        self.answers = True

    def put(self, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None, **options: Any) -> int:
        self.tries += 1
        if not self.answers:
            raise TransportFailure("cannot reach the store")
        self.objects[url.removeprefix(URL)] = body
        return 200

    def opened(self) -> list[Sample]:
        found = []
        for key, content in self.objects.items():
            batch = Object(samples.origin_of(key, "", "cameras"), content)
            assert batch.is_by(REPORT_KEY)
            found += batch.opened(partial(x25519.shared, PRIVATE), PUBLIC)
        return found


class Child:
    """What is asked of a server's process. said: to it."""

    def __init__(self) -> None:
        self.digest, self.is_relay, self.said, self.channel = SAMPLE.digest, False, [], self

    def send(self, what: str, *descriptors: int, **more: Any) -> bool:
        assert what == channel.SAMPLE
        self.said.append(more["share_millionths"])
        return True


class Now:
    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def store() -> Store:
    return Store()


def mailing_to(store: Store, gather_seconds: float = 0.0) -> Mailing:
    return Mailing(Sender("camera-1", "cameras", URL, REPORT_KEY), store, gather_seconds)


def memory(content: bytes) -> int:
    descriptor = os.memfd_create("test")
    os.write(descriptor, content)
    return descriptor


def test_a_batch_is_sent_when_it_is_old_or_full_and_only_its_owner_opens_it(store: Store):
    mailing = mailing_to(store, 3600)
    mailing.put(SAMPLE, PUBLIC)
    mailing.put(SAMPLE, PUBLIC)
    assert store.tries == 0
    mailing.put(LARGE, PUBLIC)
    patience.wait_until(lambda: mailing.status["sent"] == 3)
    assert (len(store.objects), store.opened()) == (1, [SAMPLE, SAMPLE, LARGE])
    young = mailing_to(store, 0.01)
    young.put(SAMPLE, PUBLIC)
    patience.wait_until(lambda: young.status["sent"] == 1)


def test_what_has_no_room_is_dropped_the_oldest_first_while_the_store_is_away(store: Store):
    store.answers, mailing = False, mailing_to(store)
    mailing.put(SAMPLE, PUBLIC)
    patience.wait_until(lambda: store.tries)
    for _ in range(20):
        mailing.put(LARGE, PUBLIC)
    found = mailing.status
    assert found["waiting"] * len(LARGE.request) <= MOST_HELD_BYTES
    assert (found["waiting"] + found["dropped"] >= 20, found["fails"]) == (True, "TransportFailure: cannot reach the store")
    mailing.forget()
    patience.wait_until(lambda: mailing.status["dropped"] == found["dropped"] + 1)  # that which was under way
    assert mailing.status["waiting"] == 0
    store.answers = True
    mailing.put(SAMPLE, PUBLIC)
    patience.wait_until(lambda: mailing.status["sent"] == 1)
    assert store.opened() == [SAMPLE]


def test_a_key_that_is_none_gets_nothing(store: Store):
    mailing = mailing_to(store)
    mailing.put(SAMPLE, bytes(32))
    patience.wait_until(lambda: mailing.status["dropped"] == 1)
    assert store.tries == 0


def test_leave_is_given_once_a_part_of_the_day_and_as_long_as_samples_are_wanted(store: Store):
    now, server = Now(), Child()
    sampling = Sampling(mailing_to(store), lambda: 29_000_000 * 60 + 59.0, monotonic=now)
    assert (sampling.see_to(server, now()), sampling.status) == (None, None)
    sampling.follow(WANTED)
    first_at = sampling.see_to(server, now())
    assert first_at is None or now() <= first_at <= now() + 100
    now.seconds += 100
    assert sampling.see_to(server, now()) is None
    assert server.said == [500_000]
    sampling.heard(server, [memory(replace(SAMPLE, minutes=0).packed())])
    assert (sampling.see_to(server, now()), server.said) == (now() + 100, [500_000])
    patience.wait_until(lambda: store.objects)
    assert store.opened() == [SAMPLE]  # with the minute in which it was taken
    now.seconds += 100
    sampling.see_to(server, now())
    sampling.follow(None, is_known=False)
    assert server.said == [500_000, 500_000, 0]
    sampling.heard(server, [memory(SAMPLE.packed())])  # was on its way
    sampling.follow(WANTED)
    assert (sampling.see_to(server, now()), len(store.objects)) == (None, 1)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"x" * 100, SAMPLE.packed() * 2, replace(SAMPLE, digest=f"sha256:{'b' * 64}").packed()),
        replace(SAMPLE, request=b"x" * WANTED.most_bytes, answer=b"y" * 600).packed(),
        replace(SAMPLE, request=b"x" * (MOST_SAMPLE_BYTES + 1000)).packed(),
    ],
)
def test_what_a_server_hands_over_that_is_no_sample_of_its_own_is_not_taken(store: Store, content: bytes):
    now, server = Now(), Child()
    mailing = mailing_to(store)
    sampling = Sampling(mailing, lambda: None, monotonic=now)
    sampling.follow(WANTED)
    now.seconds += 100
    sampling.see_to(server, now())
    reading, writing = os.pipe()
    sampling.heard(Child(), [reading])  # nothing is read of it, which would wait
    sampling.heard(server, [memory(content)])
    os.close(writing)
    assert (mailing.status["waiting"], store.tries) == (0, 0)


def test_what_was_taken_for_somebody_is_sent_to_nobody_else(store: Store):
    now, server, mailing = Now(), Child(), mailing_to(store, 3600)
    sampling = Sampling(mailing, lambda: None, monotonic=now)
    for wanted, left in (
        (WANTED, 1),
        (replace(WANTED, share_millionths=1), 2),
        (replace(WANTED, owner_key=x25519.public_of(b"q" * 32)), 1),
    ):
        sampling.follow(wanted)
        now.seconds += 100
        sampling.see_to(server, now())
        sampling.heard(server, [memory(SAMPLE.packed())])
        assert mailing.status["waiting"] == left
    sampling.follow(None)
    assert (mailing.status["waiting"], sampling.status) == (0, None)
