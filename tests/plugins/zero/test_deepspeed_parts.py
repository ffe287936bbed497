"""DeepSpeed's private parts that the plugin uses: a release that moves one fails here, by its name."""

from __future__ import annotations

import inspect

import pytest

from stoker_plugins.zero.keys import KNOWN_KEYS, OWNED_ZERO_KEYS, ZERO_KEYS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

FLAT = (
    "_lazy_init_hp_params_optimizer_state",
    "update_lp_params",
)
STAGE_3 = (
    "_optimizer_states_and_gradient_swap_in",
    "_optimizer_states_and_gradient_swap_out",
    "_reassign_or_swap_out_partitioned_parameters",
    "_release_swap_buffers",
    "_swappable_optimizer_subgroup",
    "get_param_id",
)
STAGE_3_ATTRIBUTES = (
    "fp16_groups",
    "fp32_partitioned_groups_flat",
    "grad_partitions_flat_buffer",
    "grad_position",
    "persistent_parameters",
    "sub_group_to_group_id",
    "ipg_buckets",
    "optimizer_swapper",
    "swap_optimizer",
)
FLAT_ATTRIBUTES = ("averaged_gradients", "cpu_offload", "local_overflow", "norm_for_param_grads")
BF16_ATTRIBUTES = ("fp32_groups_gradients_flat",)


def test_optimizers_have_the_methods_that_are_called() -> None:
    from deepspeed.runtime.bf16_optimizer import BF16_Optimizer
    from deepspeed.runtime.zero.stage3 import DeepSpeedZeroOptimizer_Stage3
    from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer

    for kind, names in (
        (BF16_Optimizer, FLAT),
        (DeepSpeedZeroOptimizer, (*FLAT, "_wait_for_offload_copies")),
        (DeepSpeedZeroOptimizer_Stage3, STAGE_3),
    ):
        missing = [name for name in names if not callable(getattr(kind, name, None))]
        assert not missing, f"{kind.__name__} has no {missing}"


def test_optimizers_set_the_attributes_that_are_read() -> None:
    from deepspeed.runtime import bf16_optimizer
    from deepspeed.runtime.zero import stage3, stage_1_and_2

    for module, names in (
        (bf16_optimizer, BF16_ATTRIBUTES),
        (stage_1_and_2, FLAT_ATTRIBUTES),
        (stage3, STAGE_3_ATTRIBUTES),
    ):
        source = inspect.getsource(module)
        missing = [name for name in names if f"self.{name}" not in source]
        assert not missing, f"{module.__name__} sets no {missing}"


def test_fragments_have_the_fields_that_are_read() -> None:
    from deepspeed.utils.tensor_fragment import fragment_address, tensor_fragment

    assert {"start", "numel"} <= set(fragment_address.__annotations__)
    wanted = {"lp_fragment_address", "hp_fragment_address", "param_group_index"}
    assert wanted <= set(tensor_fragment.__annotations__)
    assert callable(tensor_fragment.get_lp_grad_fragment)


def test_zero_init_cuts_parameters_one_at_a_time() -> None:
    from deepspeed import zero
    from deepspeed.runtime.swap_tensor.partitioned_param_swapper import (
        AsyncPartitionedParameterSwapper,
        PartitionedParamStatus,
    )

    assert callable(zero.Init._convert_to_zero_parameters)
    assert hasattr(PartitionedParamStatus, "NOT_AVAILABLE")
    for name in ("swap_in", "swap_out_and_release"):
        assert callable(getattr(AsyncPartitionedParameterSwapper, name))


def test_the_known_entries_are_those_that_deepspeed_reads() -> None:
    from deepspeed.runtime.config import DeepSpeedConfig

    asked: set[str] = set()

    class Recording(dict):  # type: ignore[type-arg]
        def get(self, key, default=None):
            asked.add(key)
            return super().get(key, default)

        def __getitem__(self, key):
            asked.add(key)
            return super().__getitem__(key)

        def __contains__(self, key):
            asked.add(key)
            return super().__contains__(key)

        def __copy__(self):
            return self

    DeepSpeedConfig(Recording(train_micro_batch_size_per_gpu=1, zero_optimization={"stage": 3}))
    assert asked - KNOWN_KEYS == set()


def test_the_known_entries_of_zero_are_those_that_deepspeed_reads() -> None:
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    fields = DeepSpeedZeroConfig.model_fields
    names = set(fields) | {field.alias for field in fields.values() if field.alias}
    assert names - ZERO_KEYS == set()
    assert ZERO_KEYS - OWNED_ZERO_KEYS.keys() - names == set()
