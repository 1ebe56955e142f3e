"""The migration policy: where a device's requests run, as a Markov decision process that is solved before anything is deployed."""
