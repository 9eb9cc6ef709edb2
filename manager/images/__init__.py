"""Images of the nodes, as the leader knows them: who has which image, and who may fetch it from whom."""
