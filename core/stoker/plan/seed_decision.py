"""The guide's decision tree and cheat sheet, asked whether they agree with its memory table."""

from __future__ import annotations

from stoker.plan.finding import Finding
from stoker.plan.guide import GUIDE, Guide, Offer
from stoker.plan.seed import GB, per_gpu_gb, state_bytes


def seventy_on_eight(guide: Guide) -> Finding | None:
    """Does 70B fit on the 8 GPUs of the cost row and the cheat sheet?"""
    parameters = guide.sizes["70b"].parameters
    need = parameters * state_bytes(guide) / GB
    per_gpu = per_gpu_gb(parameters, "full", "zero-3", 8, guide)
    held = 8 * guide.gpu_gb["a100-80gb"]
    if need <= held:
        return None
    bytes_that_fit = held * GB / parameters
    return Finding(
        name="seventy-on-eight",
        where="Cost Analysis; Decision Framework",
        kind="contradiction",
        says="8 GPUs of 80 GB are to train all of 70B, in 24 to 48 hours, and elsewhere it takes 16.",
        follows=f"It needs {need:g} GB and they hold {held:g}: {per_gpu:g} GB on each under ZeRO-3.",
        advice=f"16 GPUs, offload to the host, or less than {bytes_that_fit:.1f} bytes per parameter.",
        numbers={"need_gb": need, "held_gb": held, "per_gpu_gb": per_gpu},
    )


def cheat_sheet_that_does_not_fit(guide: Guide) -> Finding | None:
    """Which other lines of the cheat sheet are larger than the GPU, even without activations?"""
    wrong = {
        f"{offer.method} {offer.size} on {offer.gpus} x {offer.gpu_gb:g} GB": offer_gb(offer, guide)
        for offer in guide.cheat_sheet
        if offer.gpus == 1 and offer_gb(offer, guide) > offer.gpu_gb
    }
    if not wrong:
        return None
    listed = ", ".join(f"{what}: {gb:.1f} GB" for what, gb in wrong.items())
    return Finding(
        name="cheat-sheet",
        where="Decision Framework, Cheat Sheet",
        kind="contradiction",
        says="One GPU of 24 GB is to do QLoRA up to 70B, one of 80 GB LoRA up to 70B and all of 8B.",
        follows=f"By its bytes per parameter, without activations, that is {listed}.",
        advice="QLoRA of 70B wants 48 GB, LoRA of 70B two GPUs of 80 GB that share it or more.",
        numbers={f"{what}, gb": gb for what, gb in wrong.items()},
    )


def offer_gb(offer: Offer, guide: Guide = GUIDE) -> float:
    """GB on one GPU of what a line of the cheat sheet promises, without activations."""
    parameters = guide.sizes[offer.size].parameters
    return per_gpu_gb(parameters, offer.method, offer.engine, offer.gpus, guide)


def tree_against_cheat_sheet(guide: Guide) -> Finding | None:
    """Does the tree ask for more GPUs than the cheat sheet and memory do?"""
    counts = [
        offer.gpus
        for offer in guide.cheat_sheet
        if offer.method == "full"
        and 1 < offer.gpus < guide.tree_gpus
        and offer_gb(offer, guide) <= offer.gpu_gb
    ]
    if not counts:
        return None
    gpus = min(counts)
    need = per_gpu_gb(guide.sizes["8b"].parameters, "full", "zero-2", gpus, guide)
    return Finding(
        name="tree-against-cheat-sheet",
        where="Decision Framework",
        kind="contradiction",
        says=f"The tree wants {guide.tree_gpus} A100s for full fine-tuning, "
        f"the cheat sheet {gpus} for 8B.",
        follows=f"ZeRO-2 on {gpus} takes {need:g} GB on each before activations.",
        advice="`stoker advise` asks the planner what fits; below the tree's count it takes a reason.",
        numbers={"gpus": gpus, "need_gb": need},
    )


def gap_between_few_and_many(guide: Guide) -> Finding | None:
    """Is every number of examples on one side?"""
    gap = guide.many_examples - guide.few_examples
    if gap <= 0:
        return None
    return Finding(
        name="between-few-and-many",
        where="When Full Fine-Tuning Beats LoRA; Decision Framework",
        kind="omission",
        says=f"Below {guide.few_examples:,} examples it is LoRA, from {guide.many_examples:,} on full "
        "fine-tuning has room to learn.",
        follows=f"Nothing is said of the {gap:,} numbers between.",
        advice="`stoker advise` goes on to the tree's later questions there.",
        numbers={"gap": gap},
    )
