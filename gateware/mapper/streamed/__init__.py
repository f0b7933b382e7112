"""Lays networks out for streamed circuits (:attr:`gateware.engine.configuration.EngineConfig.streamed`)."""
