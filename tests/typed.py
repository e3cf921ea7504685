#!/usr/bin/env python3
"""Types commands on a terminal, as somebody who reads the page does: the story of README.md and the
examples of man/. Used by tests/packages.

    typed.py story README.md -- SHELL...     the commands of the story, one after the other
    typed.py pages MAN_FOLDER -- SHELL...    the examples of each page, each page in a new shell

SHELL is a command that ends in an interactive shell of a sandbox.
"""

import os
import pathlib
import pty
import re
import select
import signal
import sys
import time

PATIENCE = 120
# 2: something differs. 3: rollback leaves max above the number of flows. 1: nothing matches.
RIGHT = [
    (r".*", 0, ""),
    (r"check|plan|profile diff", 2, ""),
    (r"--format nagios", 1, ""),
    (r"rollback", 3, "nf_conntrack_max stays"),
    (r"kill|expire", 1, "no flow matches"),
    (r"guard --once", 2, ""),
]
# Runs for hours or until it is stopped: what shows that it works, and the key that ends it.
ENDLESS = [
    (r"2h11m|idle>1h|--observe 10m", "watching", "\x03"),
    (r"^cttune top --watch", "share", "\x03"),
    (r"^cttune watch(?!.* --once)", "states", "q"),
]
# Where a page, or one of its examples, needs something that is there before.
BEFORE = {
    "cttune-confirm": "cttune apply campus-fw --adopt --yes --confirm-within 5m",
    "cttune-rollback": "for n in 1 2 3 4 5 6 7 8; do cttune apply -q --yes --set udp_timeout=6$n; done",
    "cttune-history": "for n in 1 2 3 4 5 6 7 8; do cttune apply -q --yes --set udp_timeout=6$n; done",
    "cttune-completions": "mkdir -p ~/.local/share/bash-completion/completions ~/.zfunc ~/.config/fish/completions",
    "cttune-profile-diff": "cttune apply -q campus-fw --adopt --yes",
    "cttune-fleet": "mkdir checks; cttune check --json >checks/fw1.json",
    "cttune-metrics": "mkdir -p /run/textfile",
    "cttune apply tonight.json": "cttune confirm; cttune plan --set udp_timeout=77 --out tonight.json",
    # It was stopped after a moment, and wrote nothing.
    "cttune plan ./mine.toml": "[ -e mine.toml ] || cttune profile suggest --observe 2s ./mine.toml",
}
MAKES = {"cttune-profile-copy", "cttune-profile-suggest"}
# Not inside a sandbox, a service that never ends, or a program that is not everywhere.
LEFT_OUT = re.compile(r"^cttune sandbox|^cttune guard(?! --once)|\| nft|/var/lib/prometheus|profile edit")


def endless(command):
    return next(((shows, key) for what, shows, key in ENDLESS if re.search(what, command)), (None, None))


class Shell:
    def __init__(self, command):
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.environ.update(PS1="", TERM="dumb", PROMPT_COMMAND="")
            os.execvp(command[0], command)
        self.screen = ""
        self.number = 0
        self.run("PS1=; stty cols 80 rows 24; cd $(mktemp -d)")

    def wait(self, *ends):
        deadline = time.monotonic() + PATIENCE
        while True:
            for end in ends:
                if end in self.screen:
                    return end
            if time.monotonic() > deadline:
                raise SystemExit(f"no {ends} in:\n{self.screen}")
            self.read()

    def read(self):
        if select.select([self.master], [], [], 1)[0]:
            try:
                self.screen += os.read(self.master, 65536).decode(errors="replace")
            except OSError:
                raise SystemExit(f"the shell ended:\n{self.screen}")

    def send(self, text):
        os.write(self.master, text.encode())

    def run(self, command):
        """Types a command, says yes to its question, and gives its exit code."""
        self.screen = ""
        self.number += 1
        code = f"code{self.number}="
        ask = f"echo co''de{self.number}=$?."
        shows, key = endless(command)
        # A screen needs a terminal whose cursor moves.
        self.send(f"{'TERM=xterm ' if key == 'q' else ''}{command}; {ask}\r")
        ends = [code, "[y/N", shows] if shows else [code, "[y/N"]
        while (end := self.wait(*ends)) != code:
            ends.remove(end)
            # A shell drops the rest of the line with a command that a signal ended.
            again = f"{ask}\r" if key == "\x03" else ""
            self.send("y\r" if end == "[y/N" else f"{key}{again}")
        while not (found := re.search(rf"{code}(\d+)\.", self.screen)):
            self.read()
        return int(found[1])

    def end(self):
        self.send("\x04exit\r")
        try:
            os.kill(self.pid, signal.SIGHUP)
        except ProcessLookupError:
            pass
        os.close(self.master)
        os.waitpid(self.pid, 0)


def check(shell, command):
    code = shell.run(command)
    fits = (re.search(what, command) and code == right and said in shell.screen for what, right, said in RIGHT)
    stopped = endless(command)[1] == "\x03" and code == 130
    if not (stopped or any(fits)):
        raise SystemExit(f"{command}: exit {code}\n{shell.screen}")
    print(f"  {code:3} {command}", flush=True)


def story(readme):
    text = pathlib.Path(readme).read_text()
    _, _, story = text.partition("## The story in ten commands")
    block = story.split("```sh\n")[1].split("```")[0]
    return [line.split("  #")[0].strip() for line in block.splitlines()]


def examples(page):
    text = page.read_text()
    _, _, examples = text.partition(".SH EXAMPLES")
    examples = examples.split("\n.SH ")[0]
    lines = "".join(re.findall(r"\.EX\n(.*?)\.EE", examples, re.S)).splitlines()
    plain = (line.replace(r"\&", "").replace(r"\-", "-").replace(r"\e", "\\") for line in lines)
    return [line for line in plain if line.startswith("cttune ")]


def main():
    what, source, _, *command = sys.argv[1:]
    if what == "story":
        shell = Shell(command)
        commands = story(source)
        for line in commands:
            check(shell, line)
        shell.end()
        print(f"{len(commands)} commands of the story")
        return
    number = 0
    for page in sorted(pathlib.Path(source).glob("*.8")):
        lines = [line for line in examples(page) if not LEFT_OUT.search(line)]
        if not lines:
            continue
        shell = Shell(command)
        if page.stem not in MAKES:
            shell.run("cttune profile copy campus-fw ./mine.toml")
        # The line of the story's admin, which overrides profiles.
        shell.run("sed -i /nf_conntrack_max/d /etc/sysctl.conf")
        shell.run(BEFORE.get(page.stem, "true"))
        for line in lines:
            shell.run(BEFORE.get(line, "true"))
            check(shell, line)
            number += 1
        shell.end()
    print(f"{number} examples of the manual")


main()
