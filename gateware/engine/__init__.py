"""The accelerator: the array of neurons, what feeds it, and what reads it out.

Read the files in the order in which data pass through them:

* :mod:`gateware.engine.accelerator`: the blocks below put together, and who of them gets the spike memory when.
* :mod:`gateware.engine.configuration`: every size of the circuit, :class:`gateware.engine.configuration.EngineConfig`.
* :mod:`gateware.engine.contents`: what the memories of the circuit hold, which is the network.
* :mod:`gateware.engine.window_writer`: packs pixels into the windows of the first layer as they arrive.
* :mod:`gateware.engine.spike_memory`: the spikes of all layers, a word per clock.
* :mod:`gateware.engine.sequencer`: walks through the layers and asks for one word per clock;
  :mod:`gateware.engine.program` is the format of its instructions.
* :mod:`gateware.engine.weight_store`: the weights, and the constants of the neurons.
* :mod:`gateware.engine.dot_product`: one word of spikes by one word of weights.
* :mod:`gateware.engine.neuron_array`: P x T dot products with their accumulators.
* :mod:`gateware.engine.pif`: the neuron, integrate, fire and reset, for all timesteps in a pipeline.
* :mod:`gateware.engine.spike_collector`: pools the spikes and writes them back into the spike memory.
* :mod:`gateware.engine.readout`: keeps the scores, finds the class and hands the result out.

A streamed circuit, whose model comes from flash, has other blocks in some of these places:

* :mod:`gateware.engine.image_writer`: writes an image as a map, in place of the window writer.
* :mod:`gateware.engine.weight_ring`: rings of weights and constants, in place of memories that hold all of them.
* :mod:`gateware.engine.partial_sums`: adds the segments that the array sums.
* :mod:`gateware.engine.membrane_store`: membranes from one block of timesteps to the next, and scores.

:mod:`gateware.engine.masked_ram` and :mod:`gateware.engine.adder_pair` are what these are made of; the family of FPGA
makes them.
"""
