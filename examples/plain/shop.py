"""A shop without a framework: it inserts an order, enqueues the mail of its receipt, and waits for the result."""

import os

import psycopg2
import spoils

from jobs import MailReceipt

TABLE = (
    "CREATE TABLE IF NOT EXISTS orders (id serial PRIMARY KEY, email text NOT NULL, mailed_at timestamptz)"
)

connection = psycopg2.connect(os.environ["DATABASE_URL"])
with connection, connection.cursor() as cursor:  # commits, or rolls back the order and the job
    cursor.execute(TABLE)
    cursor.execute("INSERT INTO orders (email) VALUES (%s) RETURNING id", ["ann@shop.example"])
    (order_id,) = cursor.fetchone()
    job = spoils.enqueue(MailReceipt(order_id=order_id), connection=connection)

print(spoils.Client().wait(job.id, timeout=60).result)
