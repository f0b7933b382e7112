"""Lays a network of any size out for the streamed circuit (:attr:`EngineConfig.streamed`)."""
