"""An estimator for the golden numbers."""

from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import Pipeline, make_pipeline


def make() -> Pipeline:
    """Words are counted, and each is evidence by itself."""
    return make_pipeline(CountVectorizer(), MultinomialNB())
