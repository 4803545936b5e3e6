"""What a Superset of the checks is set to: one folder, SQLite, nothing sent to anybody. Everything else is as it comes."""
import os

FOLDER = os.environ["SUPERSET_HOME"]
SECRET_KEY = "a key of a Superset that lives for one check"
SQLALCHEMY_DATABASE_URI = f"sqlite:///{FOLDER}/superset.db?check_same_thread=false&timeout=30"
WTF_CSRF_ENABLED = True
TALISMAN_ENABLED = False
RATELIMIT_ENABLED = False
FEATURE_FLAGS = {}
