"""Machine hours and money. The price is always given by the user; none is assumed.

What it does not do: taxes, storage, idle time, failed runs.
"""


def machine_hours(machines: int, hours: float | int) -> float:
    """machines * hours. Source: DeepSeek-R1 (arXiv 2501.12948v2), Table 7: GPU hours."""
    return float(machines * hours)


def dollars(machine_hours: float | int, price: float | int) -> float:
    """machine_hours * price an hour. Source: DeepSeek-R1 (arXiv 2501.12948v2), Table 7, which takes $2 an H800 hour."""
    return float(machine_hours * price)
