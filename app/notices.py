"""Builds what tells people of releases that failed, were rejected or recovered. Part of the composition root."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from pydantic import SecretStr

from app.adapters.duty_store import SqlDutyStore
from app.adapters.notice_store import SqlNoticeStore
from app.adapters.receiver import Form, HttpReceiver, ReceiverOptions
from app.adapters.system import random_bits
from app.bootstrap import Container
from app.bootstrap_doors import owner
from app.config_models import Settings
from app.config_notify import Notify
from app.domain.notice_forms import chat, webhook
from app.services.duty import Duty, DutyOptions
from app.services.notify import Addressee, Notifying

_FORMS: Mapping[str, Form] = {"webhook": webhook, "slack": chat, "mattermost": chat}
_DUTY_SECONDS = 6.0


def notifying(container: Container) -> Notifying:
    """The service over the configured receivers."""
    settings = container.settings
    addressees = {each.name: _addressee(each, settings) for each in settings.notify}
    return Notifying(SqlNoticeStore(container.engine), addressees, container.clock, container.new_id)


def notify_duty(container: Container) -> Duty:
    """This process's share in notifying: one process does it at a time."""
    name = f"{owner()}:{random_bits(32):08x}"
    return Duty(SqlDutyStore(container.engine), container.clock, DutyOptions("notify", name, _DUTY_SECONDS))


def _addressee(receiver: Notify, settings: Settings) -> Addressee:
    outgoing = settings.outgoing
    options = ReceiverOptions(
        name=receiver.name, url=SecretStr(receiver.address), form=_FORMS[receiver.kind], base_url=settings.web.base_url,
        secret=receiver.secret, ca_file=str(outgoing.ca_file) if outgoing.ca_file else None,
        http_proxy=outgoing.proxy_for(receiver.address),
    )  # fmt: skip
    return Addressee(receiver.wishes, HttpReceiver(options), timedelta(hours=receiver.give_up_hours))
