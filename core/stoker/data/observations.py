"""What is worth knowing about conversations and texts that can be used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Observations:
    """Counts over all rows that were turned into text."""

    plain_rows: int = 0
    """Conversations laid out without a template, because there is none."""
    open_turns: int = 0
    """Learned turns that end in no special token."""
    rows_without_bos: int = 0
    """Conversations that do not begin with the token the tokenizer begins other texts with."""
    empty_answers: int = 0
    """Learned turns without words and without a call: they teach to say nothing."""
    rows_with_special_words: int = 0
    """Rows in whose own words a special token is spelled out."""
    special_word: str = ""
    """One of those."""
    dated: bool = False
    """The template writes today's date."""

    def notes(self) -> list[str]:
        """Sentences for people, one for each count that is not 0."""
        sentences = {
            f"{self.open_turns:,} answers end in no special token under this chat template: the model "
            "will not learn from them where to stop": self.open_turns,
            f"{self.rows_without_bos:,} conversations do not begin with BOS under this chat template, "
            "with which the tokenizer begins other texts": self.rows_without_bos,
            f"{self.empty_answers:,} answers are empty: the model learns to say nothing": (
                self.empty_answers
            ),
            f"{self.rows_with_special_words:,} rows have special tokens in their words, such as "
            f"{self.special_word}: they can end or forge a turn": self.rows_with_special_words,
            "the chat template writes today's date, which is kept with the tokenised data": self.dated,
            "the tokenizer has no chat template, so alpaca rows are laid out as in Stanford Alpaca": (
                self.plain_rows
            ),
        }
        return [sentence for sentence, count in sentences.items() if count]
