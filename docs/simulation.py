"""Makes the table and the plots of autoscaling.md anew: `make simulation`."""

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parent
BEGIN, END = "<!-- made by `make simulation` -->\n", "<!-- end -->\n"


def main() -> None:
    page = DOCS / "autoscaling.md"
    command = ["inferqueue", "simulate", "--load", "all", "--markdown", "--plot", str(DOCS / "images" / "laws.svg")]
    table = subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True, text=True).stdout
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}{table}{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
