"""`client.py DEADLINE_SECONDS CALLS`: sends HTTP calls from within a container's network; conftest.py says what comes back."""

import json
import sys
import time
import urllib.error
import urllib.request


def call(method: str, url: str, body: str) -> tuple[int, str]:
    request = urllib.request.Request(url, method=method, data=body.encode() or None)  # noqa: S310 always a loopback address
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def main() -> None:
    end = time.monotonic() + float(sys.argv[1])
    answers = []
    for method, url, body in json.loads(sys.argv[2]):
        refused = []
        status, text = call(method, url, body)
        while not answers and status != 200:
            assert time.monotonic() < end, f"{url} is not answered with 200: {status} {text}"
            refused.append(status)
            time.sleep(0.05)
            status, text = call(method, url, body)
        answers.append({"status": status, "body": text, "refused": refused})
    sys.stdout.write(json.dumps(answers))


main()
