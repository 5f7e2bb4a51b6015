import threading
from collections.abc import Iterator

import pytest

from utils.errors import InputError
from utils.prefetch import prefetch, write_async


def counted(prepared: threading.Semaphore, num_items: int = 6) -> Iterator[int]:
    for number in range(num_items):
        prepared.release()
        yield number


def alive() -> int:
    return threading.active_count()


# ahead


@pytest.mark.parametrize("count", [1, 2, 50])
def test_items_come_in_their_order_whatever_is_prepared(count):
    with prefetch(iter([None, 3, "x", None, 5]), count) as items:
        assert list(items) == [None, 3, "x", None, 5]


def test_the_next_items_and_no_more_are_prepared_while_one_is_in_use():
    prepared = threading.Semaphore(0)
    with prefetch(counted(prepared), count=2) as numbers:
        assert next(numbers) == 0
        for _ in range(3):  # the one in use and two more
            assert prepared.acquire(timeout=10)
        assert not prepared.acquire(timeout=0.1)
        assert list(numbers) == [1, 2, 3, 4, 5]


def test_items_are_prepared_on_another_thread():
    with prefetch(threading.get_ident() for _ in range(3)) as threads:
        assert threading.get_ident() not in set(threads)


@pytest.mark.parametrize("error", [InputError("cut off"), RuntimeError("a mistake")])
def test_what_the_items_raise_comes_in_its_place(error):
    def broken() -> Iterator[int]:
        yield from range(4)
        raise error

    seen = []

    def loop() -> None:
        with prefetch(broken()) as items:
            for number in items:
                seen.append(number)

    with pytest.raises(type(error), match=str(error)):
        loop()
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize("failing", [True, False])
def test_a_loop_that_ends_early_ends_the_thread_and_closes_the_items(failing):
    before, closed = alive(), threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    unused = endless()  # to be closed, though it is still referred to

    def loop() -> None:
        with prefetch(unused) as items:
            next(items)
            if failing:
                raise InputError("the disk is full")

    if failing:
        with pytest.raises(InputError, match="the disk is full"):
            loop()
    else:
        loop()
    assert closed.is_set()
    assert alive() == before


# behind


def test_calls_are_made_in_order_on_one_other_thread():
    made = []
    with write_async(
        lambda *args, **more: made.append((threading.get_ident(), args, more))
    ) as call:
        for number in range(20):
            call(number, half=number / 2)
    assert [(args, more) for _, args, more in made] == [((i,), {"half": i / 2}) for i in range(20)]
    (thread,) = {thread for thread, _, _ in made}
    assert thread != threading.get_ident()


def test_at_most_count_calls_wait():
    go, waiting, handed = threading.Semaphore(0), 3, []

    def loop() -> None:
        with write_async(lambda number: go.acquire(), waiting) as call:
            for number in range(6):
                call(number)
                handed.append(number)

    thread = threading.Thread(target=loop)
    thread.start()
    thread.join(timeout=0.2)
    assert handed == [0, 1, 2]
    for _ in range(6):
        go.release()
    thread.join(timeout=10)
    assert handed == [0, 1, 2, 3, 4, 5]


def failing_at(number: int, made: list[int]) -> object:
    def call(this: int) -> None:
        if this == number:
            raise InputError(f"{this} cannot be written")
        made.append(this)

    return call


@pytest.mark.parametrize("number", [0, 4, 9])
def test_what_a_call_raises_is_raised_by_a_later_one_or_at_the_end(number):
    before, made = alive(), []

    def loop() -> None:
        with write_async(failing_at(number, made), count=2) as call:
            for this in range(10):
                call(this)

    with pytest.raises(InputError, match=f"{number} cannot be written"):
        loop()
    assert made[:number] == list(range(number))
    assert len(made) < number + 3  # the loop went on for no longer than calls may wait
    assert alive() == before


def test_a_loop_that_fails_drops_the_calls_that_wait():
    begun, go, made = threading.Event(), threading.Event(), []

    def slow(number: int) -> None:
        begun.set()
        go.wait(timeout=10)
        made.append(number)

    def loop() -> None:
        with write_async(slow) as call:
            for number in range(3):
                call(number)
            begun.wait(timeout=10)
            threading.Timer(0.1, go.set).start()  # when the loop has failed
            raise InputError("the source is damaged")

    with pytest.raises(InputError, match="the source is damaged"):
        loop()
    assert made == [0]


def test_reading_and_writing_that_both_fail_do_not_wait_for_each_other():
    def broken() -> Iterator[int]:
        yield from range(3)
        raise InputError("the source is damaged")

    before = alive()

    def loop() -> None:
        with prefetch(broken(), 1) as items, write_async(failing_at(2, []), 1) as call:
            for number in items:
                call(number)

    with pytest.raises(InputError):
        loop()
    assert alive() == before
