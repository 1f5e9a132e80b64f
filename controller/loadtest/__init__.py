"""Load tests by Locust: run, summed up, compared, reported (`edgectl bench`)."""
