"""What a data set is like, as one page that opens in any browser and asks the network nothing."""
