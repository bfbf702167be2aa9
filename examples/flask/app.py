"""A shop on Flask: an order and its job are committed together; the dashboard of the queue is at /queue."""

import hmac
import os

import spoils
import spoils.web
from flask import Flask, Request, redirect, request, session
from flask.typing import ResponseReturnValue
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import make_url
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from jobs import MailReceipt

USERS = {"ann": "admin", "bob": "viewer"}
LOGIN = """<!doctype html><title>Shop</title><form method="post"><p><input name="user" aria-label="User">
<p><input name="password" type="password" aria-label="Password"> <button>Log in</button></form>"""

app = Flask(__name__)
app.config.update(
    SECRET_KEY=os.environ["SECRET_KEY"],
    SESSION_COOKIE_SAMESITE="Lax",
    SQLALCHEMY_DATABASE_URI=make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg2"),
)
db = SQLAlchemy(app)


class Order(db.Model):
    """An order of a customer."""

    __tablename__ = "orders"

    id = db.Column(db.Integer, primary_key=True)
    email = db.Column(db.Text, nullable=False)
    mailed_at = db.Column(db.DateTime(timezone=True))


with app.app_context():
    db.create_all()


@app.post("/orders")
def create_order() -> ResponseReturnValue:
    """Insert an order and enqueue its job, in one transaction."""
    order = Order(email=request.get_json()["email"])
    db.session.add(order)
    db.session.flush()
    job = spoils.enqueue(MailReceipt(order_id=order.id), connection=db.session)
    db.session.commit()
    return {"order": order.id, "job": str(job.id)}


@app.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """The login of the shop."""
    user, password = request.form.get("user", ""), request.form.get("password", "")
    if user not in USERS or not hmac.compare_digest(password.encode(), os.environb[b"SHOP_PASSWORD"]):
        return LOGIN
    session["user"] = user
    onward = request.args.get("next", "")
    return redirect(onward if onward.startswith("/queue/") else "/queue/")


def authorize(asked: Request) -> tuple[str, str] | None:
    """What the dashboard lets a user of the shop do."""
    user = app.session_interface.open_session(app, asked).get("user")
    return (USERS[user], user) if user in USERS else None


queue = spoils.web.create_app({"SECRET_KEY": app.secret_key}, authorize=authorize, login_url="/login")
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/queue": queue})
