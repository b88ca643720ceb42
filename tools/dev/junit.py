"""Counts the tests in JUnit files: prints `passed failed skipped`, then one line per failed test on standard error."""
import sys
import xml.etree.ElementTree as ElementTree


def count(path):
    """(passed, failed, skipped) of one file; each failed test is named on standard error."""
    passed = failed = skipped = 0
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
            print(f"  failed: {case.get('classname')} {case.get('name')}", file=sys.stderr)
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def main():
    totals = [0, 0, 0]
    for path in sys.argv[1:]:
        totals = [a + b for a, b in zip(totals, count(path))]
    print(*totals)


if __name__ == "__main__":
    main()
