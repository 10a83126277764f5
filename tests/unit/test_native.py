"""What a tool says of native stacks, as a failing test shows it."""

from pytest_isolate._sandbox import native

EU_STACK = """PID 9 - process
TID 9:
#0  0x00007fe81b4ed545 clock_nanosleep@GLIBC_2.2.5 - /usr/lib/libc.so.6
#1  0x00007fe81b915ada time_sleep - /usr/lib/libpython3.11.so.1.0
#2  0x00007fe81b6fd9c3 _PyEval_EvalFrameDefault - /usr/lib/libpython3.11.so.1.0
#3  0x00007fe81b445305 main - /usr/bin/python3
TID 10:
#0  0x00007fe81b4ed545 - /usr/lib/libx.so
"""
GDB = """[New LWP 10]
48\t../sysdeps/unix/sysv/linux/clock_nanosleep.c: No such file or directory.

Thread 2 (Thread 0x7fe81b0366c0 (LWP 10) "python"):
#0  0x00007fe81b4ed545 in __GI___clock_nanosleep (clock_id=clock_id@entry=1, flags=1) at ../linux/clock_nanosleep.c:48
#1  pysleep (timeout=<optimized out>) at ./Modules/timemodule.c:2159
#2  0x00007fe81b6fd9c3 in _PyEval_EvalFrameDefault (tstate=<optimized out>) at Python/ceval.c:4769
#3  0x00007fe81b445305 in main () from /usr/bin/python3

Thread 1 (LWP 9):
#0  0x00007fe81bbc3f7a in ?? () from /lib/libffi.so.8
[Inferior 1 (process 9) detached]
"""


def test_eu_stacks_output_is_cut_where_the_interpreter_begins():
    """One paragraph a thread; a thread without Python is whole."""
    assert list(native.readable(EU_STACK)) == [
        "Thread 9:",
        "  clock_nanosleep@GLIBC_2.2.5 - /usr/lib/libc.so.6",
        "  time_sleep - /usr/lib/libpython3.11.so.1.0",
        "  (Python)",
        "Thread 10:",
        "  - /usr/lib/libx.so",
    ]


def test_threads_in_python_alone_tell_nothing_new():
    """Python's own stacks have them; one thread in C has all shown."""
    python = "TID 9:\n#0  0x1 _PyEval_EvalFrameDefault - /usr/lib/libpython3.11.so.1.0\n"
    assert native.telling(python) == ""
    assert native.telling(f"{python}TID 10:\n#0  0x1 - /usr/lib/libx.so\n") == (
        "Thread 9:\n  (Python)\nThread 10:\n  - /usr/lib/libx.so"
    )
    assert native.telling("eu-stack: no such process\n") is None


def test_gdbs_output_is_read_without_arguments():
    """Values of a test's variables are of no use there, and long."""
    assert list(native.readable(GDB)) == [
        "Thread 10:",
        "  __GI___clock_nanosleep at ../linux/clock_nanosleep.c:48",
        "  pysleep at ./Modules/timemodule.c:2159",
        "  (Python)",
        "Thread 9:",
        "  ?? from /lib/libffi.so.8",
    ]


def test_names_and_numbers_of_a_hostile_process_are_kept_in_bounds():
    """Symbols are whatever the process has in its memory: no terminal obeys them, and there are
    only so many.
    """
    frames = "".join(f"#{number}  0x1 evil\x1b[2J - /x\n" for number in range(1000))
    shown = list(native.readable("".join(f"TID {number}:\n{frames}" for number in range(100))))
    assert "\x1b" not in "".join(shown)
    assert len(shown) < 700
    assert shown[-1] == "and 80 more threads"
