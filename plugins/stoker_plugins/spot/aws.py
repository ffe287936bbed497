"""AWS: spot interruption notices and rebalance recommendations, through IMDSv2."""

from __future__ import annotations

from typing import Final

from stoker.run.notices import Notice
from stoker_plugins.spot.countdown import Countdown
from stoker_plugins.spot.metadata import Answer, MetadataServer, one_line, parse_time

_TOKEN: Final = "/latest/api/token"
_ACTION: Final = "/latest/meta-data/spot/instance-action"
_REBALANCE: Final = "/latest/meta-data/events/recommendations/rebalance"
_TOKEN_LIFE_SECONDS: Final = 21600
"""The longest that AWS grants."""


class Aws:
    """Asks for `spot/instance-action`, and for the rebalance recommendation where there is none."""

    name = "aws"

    def __init__(self, server: MetadataServer, grace_seconds: float) -> None:
        self._server = server
        self._countdown = Countdown(grace_seconds)
        self._token: str | None = None

    def look(self) -> Notice | None:
        """Ask once. Raises `Unanswered`."""
        action = self._get(_ACTION)
        if action.status == 200:
            return self._interruption(action)
        if action.status != 404:
            raise action.refusal()
        self._countdown.clear()
        rebalance = self._get(_REBALANCE)
        if rebalance.status == 200:
            return self._recommendation(rebalance)
        if rebalance.status != 404:
            raise rebalance.refusal()
        return None

    def _get(self, path: str) -> Answer:
        for _ in range(2):
            if self._token is None:
                self._token = self._make_token()
            answer = self._server.ask(path, {"X-aws-ec2-metadata-token": self._token})
            if answer.status != 401:
                break
            self._token = None  # it has expired
        return answer

    def _make_token(self) -> str:
        headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_LIFE_SECONDS)}
        answer = self._server.ask(_TOKEN, headers, method="PUT")
        token = answer.body.strip()
        # It becomes a header, so nothing but what a token is made of.
        if answer.status != 200 or not (token and token.isascii() and token.isprintable()):
            raise answer.refusal()
        return token

    def _interruption(self, answer: Answer) -> Notice:
        facts = answer.json_object()
        moment = parse_time(facts.get("time"))
        at = f" at {moment:%Y-%m-%dT%H:%M:%SZ}" if moment else ""
        action = one_line(facts.get("action", "interrupt"), 20)
        return Notice(
            provider=self.name,
            reason=f"AWS is going to {action} this instance{at}",
            deadline=self._countdown.deadline(answer.seconds_until(moment)),
        )

    def _recommendation(self, answer: Answer) -> Notice:
        moment = parse_time(answer.json_object().get("noticeTime"))
        since = f" since {moment:%Y-%m-%dT%H:%M:%SZ}" if moment else ""
        reason = f"AWS sees an elevated risk of interruption for this instance{since}"
        return Notice(provider=self.name, reason=reason, leave=False)
