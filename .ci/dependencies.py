"""Judges the dependencies: their licences, and no library in two versions.

What `deny.toml` would say, without a database to fetch.
"""

import collections
import json
import re
import subprocess
import sys

LICENCES = {
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
}


def acceptable(expression):
    """Judges an SPDX expression: one side of an OR suffices, an AND needs both."""
    expression = expression.replace("/", " OR ")  # the form before SPDX
    while inner := re.search(r"\(([^()]*)\)", expression):
        verdict = "MIT" if acceptable(inner[1]) else "refused"
        expression = expression[: inner.start()] + verdict + expression[inner.end() :]
    return any(
        all(licence.strip() in LICENCES for licence in choice.split(" AND "))
        for choice in expression.split(" OR ")
    )


def cargo(*arguments):
    return subprocess.run(
        ["cargo", *arguments], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def main():
    packages = json.loads(cargo("metadata", "--format-version", "1", "--locked"))["packages"]
    problems = [
        f"{package['name']} {package['version']}: licence {package['license']!r}"
        for package in packages
        if not acceptable(package["license"] or "")
    ]
    # Only what a user's build contains: build scripts and tests may pull what they like.
    tree = cargo(
        *("tree", "--workspace", "--all-features", "--target", "all", "--prefix", "none"),
        *("--edges", "normal,no-proc-macro"),
    )
    versions = collections.defaultdict(set)
    for line in tree.splitlines():
        if line:
            name, version, *_ = line.split()
            versions[name].add(version)
    problems += [
        f"{name} in several versions: {', '.join(sorted(found))}"
        for name, found in versions.items()
        if len(found) > 1
    ]
    print(f"{len(packages)} packages, {len(problems)} problems")
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
