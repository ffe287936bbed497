"""Prices: the snapshot, the user's own, and what is wrong with other people's catalogs."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from stoker.errors import UsageError
from stoker.plan.prices import OLD_DAYS, Price, PriceTable, find_price, load_prices, own_prices_path

ROW = '[[prices]]\nprovider = "mine"\ngpu = "h100-80gb"\nas_of = 2026-11-01\n'
CATALOG_HEAD = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,Price,SpotPrice,Region,GpuInfo\n"


def load(folder: Path, text: str, name: str = "prices.toml") -> PriceTable:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return load_prices(file, own=folder / "none.toml")


def price(prices: PriceTable, gpu: str, provider: str, *, spot: bool = False) -> float | None:
    found = find_price(gpu, provider, spot=spot, prices=prices)
    return found.mid if found else None


@pytest.fixture
def snapshot(tmp_path: Path) -> PriceTable:
    return load_prices(own=tmp_path / "none.toml")


class TestSnapshot:
    def test_has_no_defects_and_a_source_and_date_for_each_row(self, snapshot: PriceTable) -> None:
        assert not snapshot.warnings
        assert all(row.source and row.as_of <= date(2026, 11, 27) for row in snapshot.prices)
        assert all(0.05 < row.low <= row.high < 20 for row in snapshot.prices)

    def test_has_the_providers_of_the_guide(self, snapshot: PriceTable) -> None:
        named = {"lambda", "runpod", "together", "vast", "aws", "gcp", "azure"}
        assert named <= set(snapshot.providers)

    def test_has_the_ranges_of_the_guide_as_such(self, snapshot: PriceTable) -> None:
        found = find_price("a100-80gb", "guide", prices=snapshot)
        assert found is not None
        assert (found.low, found.mid, found.high) == (1.5, 2.25, 3.0)

    def test_without_a_provider_the_cheapest_dated_vendor_counts(self, snapshot: PriceTable) -> None:
        found = find_price("h100-80gb", prices=snapshot)
        assert found is not None
        dated = [
            row.mid
            for row in snapshot.prices
            if row.gpu == "h100-80gb" and not row.is_spot and row.provider != "guide"
        ]
        assert found.mid == min(dated)

    def test_a_spot_price_is_below_the_same_vendors_on_demand_price(self, snapshot: PriceTable) -> None:
        for row in snapshot.prices:
            if row.is_spot:
                on_demand = find_price(row.gpu, row.provider, prices=snapshot)
                assert on_demand is not None
                assert row.high < on_demand.high

    def test_what_nobody_is_known_to_rent_out_has_no_price(self, snapshot: PriceTable) -> None:
        assert find_price("t4-16gb", prices=snapshot) is None

    def test_an_unknown_provider_gets_the_nearest(self, snapshot: PriceTable) -> None:
        with pytest.raises(UsageError, match="Did you mean 'runpod'"):
            find_price("h100-80gb", "runpot", prices=snapshot)


class TestAge:
    PRICE = Price("h100-80gb", "mine", 2, 2, False, date(2026, 10, 1), "2026-10-01", "a bill")

    def test_a_month_old_price_is_used_without_a_word(self) -> None:
        assert not self.PRICE.warning(self.PRICE.as_of + timedelta(OLD_DAYS))

    def test_an_older_one_says_so_and_what_to_do(self) -> None:
        warning = self.PRICE.warning(self.PRICE.as_of + timedelta(OLD_DAYS + 1))
        assert "2026-10-01" in warning
        assert "--prices" in warning

    @pytest.mark.parametrize(
        ("text", "first"), [('"2026"', date(2026, 1, 1)), ('"2026-03"', date(2026, 3, 1))]
    )
    def test_a_month_or_year_counts_from_its_first_day(
        self, tmp_path: Path, text: str, first: date
    ) -> None:
        prices = load(tmp_path, f"{ROW}on_demand = 2.0".replace("2026-11-01", text))
        found = find_price("h100-80gb", "mine", prices=prices)
        assert found is not None
        assert found.as_of == first


class TestOwnPrices:
    def test_come_before_cheaper_ones_of_the_snapshot(self, tmp_path: Path) -> None:
        found = find_price("h100-80gb", prices=load(tmp_path, f"{ROW}on_demand = 9.0"))
        assert found is not None
        assert (found.provider, found.mid) == ("mine", 9.0)

    def test_take_the_place_of_the_row_of_the_same_provider(self, tmp_path: Path) -> None:
        prices = load(tmp_path, f"{ROW}on_demand = 9.0".replace("mine", "lambda"))
        assert price(prices, "h100-80gb", "lambda") == 9.0

    def test_are_found_where_configuration_lives_and_a_given_file_goes_first(
        self, tmp_path: Path
    ) -> None:
        own = own_prices_path({"XDG_CONFIG_HOME": str(tmp_path)})
        own.parent.mkdir()
        own.write_text(f"{ROW}on_demand = 9.0")
        given = tmp_path / "given.toml"
        given.write_text(f"{ROW}on_demand = 8.0")
        assert own == tmp_path / "stoker" / "prices.toml"
        assert price(load_prices(own=own), "h100-80gb", "mine") == 9.0
        assert price(load_prices(given, own=own), "h100-80gb", "mine") == 8.0

    def test_a_file_that_was_asked_for_must_exist(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="cannot be read"):
            load_prices(tmp_path / "gone.toml", own=tmp_path / "none.toml")

    @pytest.mark.parametrize(
        "value", ["-1.0", "nan", "inf", "true", '"two"', "[1.0, 2.0, 3.0]", "[-1.0, 2.0]"]
    )
    def test_what_is_no_price_is_refused(self, tmp_path: Path, value: str) -> None:
        with pytest.raises(UsageError, match="is no price"):
            load(tmp_path, f"{ROW}on_demand = {value}")

    @pytest.mark.parametrize("value", ["0", "0.0", '""', "[0, 2.0]"])
    def test_zero_and_blank_are_ignored_with_a_warning(self, tmp_path: Path, value: str) -> None:
        prices = load(tmp_path, f"{ROW}on_demand = {value}")
        assert "mine" not in prices.providers
        assert "is no price; it is ignored" in prices.warnings[0]

    @pytest.mark.parametrize("spot", ["2.0", "2.5", "0.0"])
    def test_spot_counts_only_below_on_demand_and_above_zero(self, tmp_path: Path, spot: str) -> None:
        prices = load(tmp_path, f"{ROW}on_demand = 2.0\nspot = {spot}")
        assert price(prices, "h100-80gb", "mine") == 2.0
        assert price(prices, "h100-80gb", "mine", spot=True) is None
        assert "ignored" in prices.warnings[0]

    def test_spot_without_on_demand_is_ignored(self, tmp_path: Path) -> None:
        prices = load(tmp_path, f"{ROW}spot = 1.0")
        assert "which is missing" in prices.warnings[0]
        assert "mine" not in prices.providers

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (f'{ROW}on_demand = 2.0\ncurrency = "EUR"', "in USD, not 'EUR'"),
            (f'currency = "EUR"\n{ROW}on_demand = 2.0', "in USD, not 'EUR'"),
            (f"{ROW}on_demmand = 2.0", "Did you mean 'on_demand'"),
            (f"price = 2.0\n{ROW}", "unknown key 'price'"),
            (ROW.replace("h100-80gb", "h100-90gb"), "Did you mean 'h100-80gb'"),
            (ROW.replace("h100-80gb", "A100"), "may be a100-40gb or a100-80gb"),
            (ROW.replace('provider = "mine"\n', ""), "provider is missing"),
            (ROW.replace("2026-11-01", '"yesterday"') + "on_demand = 2.0", "is no date"),
            (ROW.replace("2026-11-01", '"2026-13"') + "on_demand = 2.0", "is no date"),
            ("prices = 2.0", "must be a list of tables"),
            ("[[prices]", "cannot be read"),
        ],
    )
    def test_nonsense_is_refused_with_what_to_write(
        self, tmp_path: Path, text: str, message: str
    ) -> None:
        with pytest.raises(UsageError, match=message):
            load(tmp_path, text)


class TestCatalogs:
    """The seven defects that were found in published catalogs, each as it is there."""

    @staticmethod
    def read(folder: Path, *rows: str) -> PriceTable:
        return load(folder, CATALOG_HEAD + "\n".join(rows), "cloud/vms.csv")

    def test_gigabytes_under_the_name_of_mebibytes(self, tmp_path: Path) -> None:
        info = "\"{'Gpus': [{'Name': 'A100 PCIe', 'MemoryInfo': {'SizeInMiB': 80}}]}\""
        prices = self.read(tmp_path, f"1x_A100-80GB_SECURE,A100-80GB,1.0,8,1.39,1.39,IN,{info}")
        assert price(prices, "a100-pcie-80gb", "cloud") == 1.39

    def test_memory_of_one_gpu_as_that_of_all(self, tmp_path: Path) -> None:
        info = "\"{'Gpus': [{'Name': 'V100', 'MemoryInfo': {'SizeInMiB': 16384}}]}\""
        prices = self.read(tmp_path, f"gpu_8x_v100,V100,8.0,92,6.32,,us-east-1,{info}")
        assert price(prices, "v100-16gb", "cloud") == pytest.approx(0.79)

    def test_memory_of_all_gpus_as_that_of_one(self, tmp_path: Path) -> None:
        info = "\"{'Gpus': [{'Name': 'A100', 'MemoryInfo': {'SizeInMiB': 163840}}]}\""
        prices = self.read(tmp_path, f"4x-A100_SXM4,A100,4,32,3.08,0.00,US,{info}")
        assert price(prices, "a100-40gb", "cloud") == pytest.approx(0.77)

    def test_a_spot_price_of_zero(self, tmp_path: Path) -> None:
        prices = self.read(tmp_path, "1x-RTX_5090,RTX5090,1,32,0.48,0.00,US,")
        assert price(prices, "rtx-5090", "cloud") == 0.48
        assert price(prices, "rtx-5090", "cloud", spot=True) is None

    def test_a_size_that_is_wrong(self, tmp_path: Path) -> None:
        info = "\"{'Gpus': [{'Name': 'RTX4090', 'MemoryInfo': {'SizeInMiB': 49140}}]}\""
        prices = self.read(tmp_path, f"1x-RTX_4090,RTX4090,1,32,0.40,0.00,HK,{info}")
        assert price(prices, "rtx-4090", "cloud") == 0.40

    def test_a_spot_price_equal_to_on_demand(self, tmp_path: Path) -> None:
        prices = self.read(tmp_path, "1x_H200,H200,1,8,3.99,3.99,US,")
        assert price(prices, "h200-141gb", "cloud", spot=True) is None
        assert "not below on-demand" in prices.warnings[0]

    def test_a_blank_price_beside_a_spot_price(self, tmp_path: Path) -> None:
        prices = self.read(
            tmp_path, "2B200.60V,B200,2.0,60,,3.423,FIN,", "1B200.30V,B200,1.0,30,4.89,1.712,FIN,"
        )
        assert price(prices, "b200-180gb", "cloud") == 4.89
        assert price(prices, "b200-180gb", "cloud", spot=True) == 1.712
        assert "no on-demand price" in prices.warnings[0]

    def test_a_bare_name_whose_size_is_not_said(self, tmp_path: Path) -> None:
        prices = self.read(tmp_path, "big-1,A100,1,12,1.10,,US,")
        assert "cloud" not in prices.providers
        assert "which A100 it has is not said" in prices.warnings[0]

    def test_the_cheapest_row_counts_and_what_has_no_gpu_is_passed_over(self, tmp_path: Path) -> None:
        prices = self.read(
            tmp_path,
            "cpu_4x,,,4,0.20,,US,",
            "gpu_1x_h100_sxm5,H100,1,26,4.29,,US,",
            "gpu_8x_h100_sxm5,H100,8,208,31.92,,US,",
            "gpu_1x_h100_pcie,H100,1,26,3.29,,US,",
            "1x-H100_NVL,H100,1,32,2.08,,BG,",
            "1RTX6000ADA,RTX-6000-Ada,1,10,0.83,,FIN,",
            "gpu_1x_a6000,A6000,1,14,1.09,,US,",
            "2x-RTX_A6000,RTXA6000,2,32,0.85,,US,",
        )
        assert price(prices, "h100-80gb", "cloud") == pytest.approx(3.99)
        assert price(prices, "h100-pcie-80gb", "cloud") == 3.29
        assert price(prices, "h100-nvl-94gb", "cloud") == 2.08
        assert price(prices, "rtx-6000-ada-48gb", "cloud") == 0.83
        assert price(prices, "a6000-48gb", "cloud") == pytest.approx(0.425)
        assert not prices.warnings

    def test_another_csv_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="is no catalog"):
            load(tmp_path, "a,b\n1,2\n", "cloud/vms.csv")
