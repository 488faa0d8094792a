"""What is decided, pure of Kafka, Spark, disk and clock."""
