"""Regenerate ``pytest_isolate/_linux/_libc.py``, the table of C functions we call.

cffi's out-of-line ABI mode: the result is plain Python that needs ``_cffi_backend`` only, neither a
compiler nor ``pycparser`` at run time. Run it after an edit of ``DECLARATIONS`` and commit the
result.
"""

from __future__ import annotations

from pathlib import Path

import cffi

DECLARATIONS = """
void *mmap(void *address, size_t length, int protection, int flags, int fd, long offset);
long syscall(long number, ...);
int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data);
int umount2(const char *target, int flags);
int pivot_root(const char *new_root, const char *put_old);
int setns(int fd, int nstype);
int unshare(int flags);
int clone(int (*fn)(void *), void *stack, int flags, void *arg, int *pidfd);
void *fdopen(int fd, const char *mode);
int setvbuf(void *stream, char *buffer, int mode, size_t size);
int fgetc(void *stream);
int madvise(void *address, size_t length, int advice);
int prctl(int option, ...);
int capget(void *header, void *data);
int capset(void *header, const void *data);

struct mount_attr { uint64_t attr_set; uint64_t attr_clr; uint64_t propagation; uint64_t userns_fd; };
struct open_how { uint64_t flags; uint64_t mode; uint64_t resolve; };
struct cap_header { uint32_t version; int pid; };
struct cap_data { uint32_t effective; uint32_t permitted; uint32_t inheritable; };
struct sock_fprog { unsigned short len; const void *filter; };
"""

TARGET = Path(__file__).parent.parent / "pytest_isolate" / "_linux" / "_libc.py"


def main() -> None:
    """Write the table."""
    ffi = cffi.FFI()
    ffi.cdef(DECLARATIONS)
    ffi.set_source("pytest_isolate._linux._libc", None)
    ffi.emit_python_code(str(TARGET))


if __name__ == "__main__":
    main()
