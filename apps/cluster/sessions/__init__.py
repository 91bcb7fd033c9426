"""Sessions that outlive every process: in Redis, where bridges fill their queues and nodes empty them."""
