#!/usr/bin/env python3
"""Runs a command whose standard output is the measuring guest's serial line and times the guest's
@@ lines from outside, by the host's clock: what the guest itself thinks of time does not count.

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
    """Of one boot: seconds, status and checksum by workload; `boot` seconds or None; whether it came to
    the end (`done`), or gave up (`failed`)."""

    def __init__(self):
        self.seconds, self.status, self.sums = {}, {}, {}
        self.grub = self.boot = None
        self.done = self.failed = False
        self.exit_status = None
        self.tail = []


def note(result, begun, line, now):
    """Takes one line that came `now` seconds after the start."""
    match = re.search(r'@@(GRUB|READY|BEGIN|END|SUM|DONE|FAIL)\b ?(\S*) ?(\S*)', line)
    if not match:
        return
    kind, name, value = match.groups()
    if kind == 'GRUB':
        result.grub = now
    elif kind == 'READY':
        result.boot = now
    elif kind == 'BEGIN':
        begun[name] = now
    elif kind == 'END' and name in begun:
        result.seconds[name] = now - begun[name]
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
                now, line = time.monotonic() - start, raw.decode('latin1').rstrip()
                result.tail = result.tail[-39:] + [line]
                if echo:
                    print(f'{now:8.2f} {line}', file=sys.stderr, flush=True)
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
    if result.boot is not None:
        print(f'{"boot":10} {result.boot:8.2f}')
    for name, seconds in result.seconds.items():
        print(f'{name:10} {seconds:8.2f} {result.status[name]:3} {result.sums.get(name, "")}')
    if not result.done and not result.sums:
        print('-- last lines --', *result.tail[-15:], sep='\n')
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
