"""The colors of everything that is drawn, told apart by the color-blind."""

# Okabe & Ito 2008 (https://jfly.uni-koeln.de/color/) without its yellow, which white paper swallows.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
