"""What all six screens have in common: the bar above, the footer, the beat."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.events import Key, Resize
from textual.screen import Screen
from textual.widgets import Footer
from textual.worker import Worker, WorkerState, get_current_worker

from stoker.errors import StokerError
from stoker.run.directory import RunDirectory
from stoker_tui.bindings import bound
from stoker_tui.keys import changing_actions
from stoker_tui.models.actions import Change, Done, twin
from stoker_tui.models.run_changes import question_about, resume_options
from stoker_tui.screens.confirm import ConfirmScreen
from stoker_tui.widgets.bar import Bar
from stoker_tui.widgets.too_small import SMALLEST, TooSmall

if TYPE_CHECKING:
    from stoker_tui.app import Cockpit
    from stoker_tui.models.session import Session


Found = TypeVar("Found")


class CockpitScreen(Screen[Any]):
    """A top-level screen.

    Subclasses compose what is between bar and footer in `compose_body`, and bring it up to date in
    `beat`, which the application calls about once a second while the screen is in front.
    """

    TITLE_WORD: ClassVar[str] = ""
    """Its name in the bar."""
    HELP: ClassVar[str] = ""
    """What it is for, in two or three sentences, for the help overlay."""

    BEAT_SECONDS: ClassVar[float] = 1.0
    """How often `beat` is called while somebody looks."""

    BINDINGS: ClassVar[list[BindingType]] = []
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (140, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-middling"), (40, "-high")]  # noqa: RUF012
    DEFAULT_CSS: ClassVar[str] = """
    CockpitScreen { layers: default cover; }
    CockpitScreen.-cramped { overflow: hidden hidden; }
    CockpitScreen.-cramped > TooSmall { display: block; }
    """

    was_shown = False
    """Whether its widgets are all there; the application lets no other screen beat."""

    @property
    def cockpit(self) -> Cockpit:
        return cast("Cockpit", self.app)

    @property
    def session(self) -> Session:
        return self.cockpit.session

    def compose(self) -> ComposeResult:
        """Bar, body, footer."""
        yield Bar(self.TITLE_WORD)
        yield from self.compose_body()
        yield Footer(show_command_palette=False)
        yield TooSmall(self.session)

    def compose_body(self) -> ComposeResult:
        """What is between bar and footer."""
        yield from ()

    def beat(self) -> None:
        """Bring what is shown up to date; cheap where nothing has changed."""

    def on_screen_resume(self) -> None:
        """The screen comes to the front."""
        self.note_state()
        self.beat()
        self.call_after_refresh(self._note_shown)

    def on_resize(self, event: Resize) -> None:
        """One line takes the place of panes that would not fit."""
        self.note_state()

    def note_state(self) -> None:
        """What belongs to the frame: is the view paused, is there room."""
        width, height = SMALLEST
        self.set_class(self.app.size.width < width or self.app.size.height < height, "-cramped")
        notices = []
        if self.cockpit.paused:
            notices.append("PAUSED")
        if self.session.options.read_only:
            notices.append("READ-ONLY")
        for bar in self.query(Bar):
            bar.note(*notices)
        if self.has_class("-cramped"):
            self.query_one(TooSmall).beat()

    def _note_shown(self) -> None:
        self.was_shown = True

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that change something are dimmed when read-only."""
        if self.session.options.read_only:
            # Bindings are inherited, the list of them is not.
            own = (owner.__dict__.get("BINDINGS", ()) for owner in type(self).__mro__)
            if action in changing_actions(each for bindings in own for each in bindings):
                return None
        return True

    def on_key(self, event: Key) -> None:
        """A key that is dimmed says why it does nothing."""
        dimmed = (each.key for each in bound(self) if each.key.key == event.key and not each.enabled)
        for key in dimmed:
            is_barred = key.changes and self.session.options.read_only
            why = "this cockpit is read-only" if is_barred else self.why_not(key.action)
            self.notify(f"{key.description}: {why}.", timeout=3, markup=False)

    def why_not(self, action: str) -> str:
        """Why an action is dimmed, where it is not for `--read-only`."""
        return "not now"

    def is_working(self, group: str) -> bool:
        """Whether a worker of that group is not through yet: it may take longer than a beat."""
        return any(worker.group == group and not worker.is_finished for worker in self.workers)

    def in_thread(self, work: Callable[[], None], group: str, *, exclusive: bool = False) -> None:
        """Do what blocks in a worker; an `exclusive` one takes the place of those of its group."""
        self.run_worker(work, thread=True, exclusive=exclusive, exit_on_error=False, group=group)

    def look(
        self, work: Callable[[Callable[[], bool]], Found], done: Callable[[Found], None], group: str
    ) -> None:
        """Do `work` in a worker, then `done` with what it found; later work takes its place.

        `work` gets a function that says whether it is too late to go on.
        """

        def run() -> None:
            worker = get_current_worker()
            found = work(lambda: worker.is_cancelled)
            if not worker.is_cancelled:
                self.app.call_from_thread(done, found)

        self.in_thread(run, group, exclusive=True)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A worker's failure is a bug: it is said, and ends nothing."""
        if event.state is WorkerState.ERROR:
            error = event.worker.error
            self.notify(
                f"{event.worker.group}: {type(error).__name__}: {error}",
                title="a bug of the cockpit",
                severity="error",
                markup=False,
            )

    def act(self, action: Callable[[], Done], then: Callable[[Done], None] | None = None) -> None:
        """Run an action of `session.actions` in a worker, say how it went, then call `then`."""

        def work() -> None:
            try:
                done = action()
            except StokerError as error:
                self.app.call_from_thread(self.notify, error.message, severity="error", markup=False)
                return
            self.app.call_from_thread(self._tell, done, then)

        self.in_thread(work, "actions")

    def change_run(self, change: Change, run: RunDirectory) -> None:
        """Stop, resume or save a run, after a yes where that is asked for."""
        actions = self.session.actions
        try:
            record = run.read_record()
        except StokerError as error:
            self.notify(error.message, severity="error", markup=False)
            return
        options = resume_options(record) if change == "resume" else ()
        arguments = actions.changing(change, run, *options)
        question = question_about(change, record)

        def answered(yes: bool | None) -> None:
            if yes:
                self.act(lambda: actions.change(*arguments))

        if question:
            title, *lines = question
            self.app.push_screen(ConfirmScreen(title, lines, command=twin(arguments)), answered)
        else:
            answered(True)

    def _tell(self, done: Done, then: Callable[[Done], None] | None) -> None:
        self.notify(
            done.message or done.command,
            title=done.command,
            severity="information" if done.ok else "error",
            markup=False,
        )
        if then is not None:
            then(done)
