"""What carries a group: a broker that speaks MQTT, and the thread that has a device take part. `paho-mqtt` comes with the extra `group`."""
