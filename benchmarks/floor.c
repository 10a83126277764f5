/* What the kernel's part of a sandbox costs, without any Python: cc -O2 -o floor floor.c && ./floor 500 [CGROUP-DIRECTORY ...]

   Each round makes what an isolated test has: a group in each of the given directories, a process in new pid, net, ipc, mnt
   and uts namespaces, a tmpfs, an overlay of the root on it, /dev with six devices, /proc, /sys, the loopback interface up, a
   pivot into it all, and the end of everything. Needs root. Prints the median of the rounds in ms. */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void must(int result, const char *what)
{
    if (result < 0)
        err(1, "%s", what);
}

static void device(const char *name)
{
    char from[64], to[64];
    snprintf(from, sizeof from, "/dev/%s", name);
    snprintf(to, sizeof to, "/proc/root/dev/%s", name);
    if (access(from, F_OK))
        return;
    int fd = open(to, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
    must(fd, to);
    close(fd);
    must(mount(from, to, NULL, MS_BIND, NULL), to);
}

static void build(void)
{
    static const char *devices[] = {"null", "zero", "full", "random", "urandom", "tty"};
    must(mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL), "make / a slave");
    must(mount("tmpfs", "/proc", "tmpfs", MS_NOSUID | MS_NODEV, "size=64M,mode=0755"), "tmpfs");
    must(mkdir("/proc/root", 0755), "mkdir root");
    must(mkdir("/proc/upper", 0755), "mkdir upper");
    must(mkdir("/proc/work", 0755), "mkdir work");
    must(mkdir("/proc/dev", 0755), "mkdir dev");
    must(mount("overlay", "/proc/root", "overlay", MS_NODEV, "lowerdir=/,upperdir=/proc/upper,workdir=/proc/work"), "overlay");
    must(mount("/proc/dev", "/proc/root/dev", NULL, MS_BIND, NULL), "bind /dev");
    for (size_t each = 0; each < sizeof devices / sizeof *devices; each++)
        device(devices[each]);
    must(mkdir("/proc/root/dev/pts", 0755), "mkdir pts");
    must(mkdir("/proc/root/dev/mqueue", 0755), "mkdir mqueue");
    must(mount("devpts", "/proc/root/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666"), "devpts");
    must(mount("mqueue", "/proc/root/dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "mqueue");
    must(mount("proc", "/proc/root/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "proc");
    must(mount("sysfs", "/proc/root/sys", "sysfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "sysfs");
    must(sethostname("isolate", 7), "sethostname");
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    must(ioctl(fd, SIOCSIFFLAGS, &lo), "lo up");
    close(fd);
    must(chdir("/proc/root"), "chdir");
    must((int)syscall(SYS_pivot_root, ".", "."), "pivot_root");
    must(umount2(".", MNT_DETACH), "umount");
}

static void path_of(char *path, const char *directory, const char *file)
{
    snprintf(path, PATH_MAX, "%s/pytest-isolate-floor-%d%s", directory, getpid(), file);
}

static double one(int count, char **groups)
{
    char path[PATH_MAX];
    int joins[16];
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int each = 0; each < count; each++) {
        path_of(path, groups[each], "");
        must(mkdir(path, 0755), path);
        path_of(path, groups[each], "/tasks");
        if (access(path, F_OK))
            path_of(path, groups[each], "/cgroup.procs");
        joins[each] = open(path, O_WRONLY | O_CLOEXEC);
        must(joins[each], path);
    }
    int flags = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWNS | CLONE_NEWUTS | SIGCHLD;
    pid_t pid = (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
    must(pid, "clone");
    if (pid == 0) {
        build();
        for (int each = 0; each < count; each++)
            must((int)write(joins[each], "0", 1), "join");
        _exit(0);
    }
    int status;
    must(waitpid(pid, &status, 0), "waitpid");
    if (status)
        errx(1, "the child ended with wait status %d", status);
    for (int each = 0; each < count; each++) {
        close(joins[each]);
        path_of(path, groups[each], "");
        must(rmdir(path), path);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (end.tv_sec - begin.tv_sec) * 1e3 + (end.tv_nsec - begin.tv_nsec) / 1e6;
}

static int by_size(const void *one, const void *other)
{
    double difference = *(const double *)one - *(const double *)other;
    return (difference > 0) - (difference < 0);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 0;
    if (rounds < 1 || argc > 18)
        errx(2, "usage: floor ROUNDS [CGROUP-DIRECTORY ...], at most 16");
    double *times = calloc(rounds, sizeof *times);
    for (int round = 0; round < rounds; round++)
        times[round] = one(argc - 2, argv + 2);
    qsort(times, rounds, sizeof *times, by_size);
    printf("%.3f\n", times[rounds / 2]);
    return 0;
}
