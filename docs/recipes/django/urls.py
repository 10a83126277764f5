from django.contrib.auth.models import User
from django.http import JsonResponse
from django.urls import path


def users(request):
    return JsonResponse({"users": [user.username for user in User.objects.order_by("username")]})


urlpatterns = [path("users", users)]
