import errno

from towline.model.errors import Failure, KernelError


def test_kernel_error_names_operation_reason_and_detail() -> None:
    error = KernelError(errno.EEXIST, "create bridge br-1", "file exists in another netns")
    assert isinstance(error, Failure)
    assert error.reason == "file exists"
    assert str(error) == "create bridge br-1: file exists (file exists in another netns)"
