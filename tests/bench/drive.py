#!/usr/bin/env python3
"""Runs a command whose standard output is the measuring guest's serial line and times the guest's
@@ lines from outside: what the guest itself thinks of time does not count. By the host's clock, and
by the processor time that the command and its children have used, which other work on the host
disturbs less.

usage: drive.py [--limit SECONDS] [--echo] -- COMMAND...

    drive.py -- tinamou run --headless --memory 1G --disk DIR/disk.img,discard=on
    drive.py -- chroot DIR/root /bench/run
"""
import argparse
import os
import re
import signal
import subprocess
import sys
import threading
import time

SKIPPED = 77    # status of a workload that this processor cannot run
LINGER = 10     # seconds between the last workload and the power-off


class Result:
    """Of one boot: times, status and checksum by workload, and whether it came to the end (`done`) or
    gave up (`failed`). The workload "boot" is from power-on to process 1. Times are seconds by the
    clock and of the processor."""

    def __init__(self):
        self.wall, self.cpu, self.status, self.sums = {}, {}, {}, {}
        self.done = self.failed = False
        self.exit_status = None
        self.tail = []


def processor_seconds(session):
    """What all processes of a session, also those that have ended, have used. See proc(5)."""
    ticks = 0
    for entry in os.listdir('/proc'):
        if not entry.isdigit():
            continue
        try:
            with open(f'/proc/{entry}/stat', encoding='latin1') as f:
                fields = f.read().rpartition(')')[2].split()
        except OSError:     # it has just ended
            continue
        if int(fields[3]) == session:
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf('SC_CLK_TCK')


def note(result, begun, line, now):
    """Takes one line that came `now` after the start: a pair, of the clock and of the processor."""
    match = re.search(r'@@(READY|BEGIN|END|SUM|DONE|FAIL)\b ?(\S*) ?(\S*)', line)
    if not match:
        return
    kind, name, value = match.groups()
    if kind == 'READY':
        result.wall['boot'], result.cpu['boot'] = now
        result.status['boot'] = 0
    elif kind == 'BEGIN':
        begun[name] = now
    elif kind == 'END' and name in begun:
        result.wall[name], result.cpu[name] = (t - t0 for t, t0 in zip(now, begun[name]))
        result.status[name] = int(value)
    elif kind == 'SUM':
        result.sums[name] = value
    elif kind == 'DONE':
        result.done = True
    elif kind == 'FAIL':
        result.failed = True


def end(process):
    """Ends the process and what it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def drive(command, limit=3600.0, echo=False, env=None):
    """Runs the command for at most `limit` seconds."""
    result, begun, start = Result(), {}, time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, start_new_session=True, env=env) as process:
        timers = [threading.Timer(limit, end, [process])]
        timers[0].start()
        try:
            for raw in process.stdout:
                line = raw.decode('latin1').rstrip()
                now = time.monotonic() - start, processor_seconds(process.pid)
                result.tail = result.tail[-39:] + [line]
                if echo:
                    print(f'{now[0]:8.2f} {now[1]:8.2f} {line}', file=sys.stderr, flush=True)
                note(result, begun, line, now)
                if (result.done or result.failed) and len(timers) == 1:
                    timers.append(threading.Timer(LINGER, end, [process]))
                    timers[1].start()
            result.exit_status = process.wait()
        finally:
            for timer in timers:
                timer.cancel()
            end(process)
    return result


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('--limit', type=float, default=3600)
    parser.add_argument('--echo', action='store_true')
    parser.add_argument('command', nargs='+')
    args = parser.parse_args()
    result = drive(args.command, args.limit, args.echo)
    for name, status in result.status.items():
        print(f'{name:10} {result.wall[name]:8.2f} {result.cpu[name]:8.2f} {status:3} '
              f'{result.sums.get(name, "")}')
    if not result.done and not result.sums:
        print('-- last lines --', *result.tail[-15:], sep='\n')
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
