"""Spark lands every record of every topic as Parquet on HDFS, once."""
