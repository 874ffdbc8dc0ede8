namespace Actipress.Tests;

public sealed class ExceptionsTests
{
    [Fact]
    public void Every_exception_that_a_user_can_catch_by_name_has_the_base_of_the_library()
    {
        var exceptions = typeof(ActipressException).Assembly.GetExportedTypes().Where(typeof(Exception).IsAssignableFrom).ToArray();
        Assert.Contains(typeof(BudgetException), exceptions);
        Assert.All(exceptions, exception =>
            Assert.True(typeof(ActipressException).IsAssignableFrom(exception), $"{exception} is no ActipressException."));
    }

    [Fact]
    public void What_goes_wrong_in_a_compressed_step_is_caught_by_the_base()
    {
        using var scope = torch.NewDisposeScope();
        var model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 1, 3));
        using var compression = model.CompressActivations(options => options.Budget(1, BudgetOf.Maps));
        var input = torch.randn(2, 1, 64, 64);
        var caught = Assert.ThrowsAny<ActipressException>(() =>
        {
            for (var step = 0; step < 4; step++)
            {
                using var loss = model.call(input).sum();
                compression.Backward(loss);
            }
        });
        Assert.IsType<BudgetException>(caught);
    }
}
