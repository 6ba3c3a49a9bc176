"""`modsync doctor`: why Go modules do not come. Probes observe; rules decide from what was observed, and do no I/O."""
