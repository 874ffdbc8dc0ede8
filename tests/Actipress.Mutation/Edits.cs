using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Actipress.Mutation;

/// <summary>The wrong edits of a program, which its tests have to notice.</summary>
interface IEdits
{
    /// <summary>The wrong expressions that may replace an expression.</summary>
    IEnumerable<ExpressionSyntax> Of(ExpressionSyntax expression, SemanticModel model);

    /// <summary>The wrong statement that may replace a statement; null where the statement may be left out.</summary>
    IEnumerable<StatementSyntax?> Of(StatementSyntax statement);
}

/// <summary>
/// Small wrong edits that apply to every program: boundaries, signs, conditions, numbers that are off by one, the opposite method, a
/// statement left out.
/// </summary>
sealed class SmallEdits : IEdits
{
    static readonly Dictionary<SyntaxKind, SyntaxKind[]> operators = new()
    {
        [SyntaxKind.LessThanExpression] = [SyntaxKind.LessThanOrEqualExpression, SyntaxKind.GreaterThanExpression],
        [SyntaxKind.LessThanOrEqualExpression] = [SyntaxKind.LessThanExpression, SyntaxKind.GreaterThanExpression],
        [SyntaxKind.GreaterThanExpression] = [SyntaxKind.GreaterThanOrEqualExpression, SyntaxKind.LessThanExpression],
        [SyntaxKind.GreaterThanOrEqualExpression] = [SyntaxKind.GreaterThanExpression, SyntaxKind.LessThanExpression],
        [SyntaxKind.EqualsExpression] = [SyntaxKind.NotEqualsExpression],
        [SyntaxKind.NotEqualsExpression] = [SyntaxKind.EqualsExpression],
        [SyntaxKind.LogicalAndExpression] = [SyntaxKind.LogicalOrExpression],
        [SyntaxKind.LogicalOrExpression] = [SyntaxKind.LogicalAndExpression],
        [SyntaxKind.AddExpression] = [SyntaxKind.SubtractExpression],
        [SyntaxKind.SubtractExpression] = [SyntaxKind.AddExpression],
        [SyntaxKind.MultiplyExpression] = [SyntaxKind.DivideExpression],
        [SyntaxKind.DivideExpression] = [SyntaxKind.MultiplyExpression],
        [SyntaxKind.ModuloExpression] = [SyntaxKind.MultiplyExpression],
        [SyntaxKind.LeftShiftExpression] = [SyntaxKind.RightShiftExpression],
        [SyntaxKind.RightShiftExpression] = [SyntaxKind.LeftShiftExpression],
        [SyntaxKind.BitwiseAndExpression] = [SyntaxKind.BitwiseOrExpression],
        [SyntaxKind.BitwiseOrExpression] = [SyntaxKind.BitwiseAndExpression],
        [SyntaxKind.ExclusiveOrExpression] = [SyntaxKind.BitwiseAndExpression],
    };

    static readonly Dictionary<SyntaxKind, SyntaxKind> assignments = new()
    {
        [SyntaxKind.AddAssignmentExpression] = SyntaxKind.SubtractAssignmentExpression,
        [SyntaxKind.SubtractAssignmentExpression] = SyntaxKind.AddAssignmentExpression,
        [SyntaxKind.MultiplyAssignmentExpression] = SyntaxKind.DivideAssignmentExpression,
        [SyntaxKind.DivideAssignmentExpression] = SyntaxKind.MultiplyAssignmentExpression,
        [SyntaxKind.AndAssignmentExpression] = SyntaxKind.OrAssignmentExpression,
        [SyntaxKind.OrAssignmentExpression] = SyntaxKind.AndAssignmentExpression,
        [SyntaxKind.LeftShiftAssignmentExpression] = SyntaxKind.RightShiftAssignmentExpression,
        [SyntaxKind.RightShiftAssignmentExpression] = SyntaxKind.LeftShiftAssignmentExpression,
    };

    static readonly Dictionary<string, string> opposites = Both(
        ("Min", "Max"), ("Any", "All"), ("First", "Last"), ("FirstOrDefault", "LastOrDefault"),
        ("OrderBy", "OrderByDescending"), ("Take", "Skip"), ("MinBy", "MaxBy"), ("Ceiling", "Floor"), ("StartsWith", "EndsWith"),
        ("Append", "Prepend"), ("IndexOf", "LastIndexOf"));

    public IEnumerable<ExpressionSyntax> Of(ExpressionSyntax expression, SemanticModel model) => expression switch
    {
        BinaryExpressionSyntax binary => OfBinary(binary, model),
        PrefixUnaryExpressionSyntax prefix
            when prefix.Kind() is SyntaxKind.LogicalNotExpression or SyntaxKind.UnaryMinusExpression or SyntaxKind.BitwiseNotExpression
            && model.GetConstantValue(prefix) is not { HasValue: true, Value: not bool } => [prefix.Operand],
        LiteralExpressionSyntax literal => OfLiteral(literal, model),
        InvocationExpressionSyntax { Expression: MemberAccessExpressionSyntax member } call
            when opposites.TryGetValue(member.Name.Identifier.Text, out var opposite) =>
            [call.WithExpression(member.WithName(Renamed(member.Name, opposite)))],
        InvocationExpressionSyntax or MemberAccessExpressionSyntax or IdentifierNameSyntax or IsPatternExpressionSyntax
            when IsCondition(expression) => [SyntaxFactory.ParseExpression($"!({expression.WithoutTrivia().ToFullString()})")],
        _ => [],
    };

    public IEnumerable<StatementSyntax?> Of(StatementSyntax statement)
    {
        switch (statement)
        {
            case ExpressionStatementSyntax { Expression: AssignmentExpressionSyntax assignment } whole
                when assignments.TryGetValue(assignment.Kind(), out var other):
                yield return whole.WithExpression(SyntaxFactory.AssignmentExpression(other, assignment.Left, assignment.Right));
                break;
            case ExpressionStatementSyntax { Expression: PostfixUnaryExpressionSyntax postfix } whole:
                var rises = postfix.IsKind(SyntaxKind.PostIncrementExpression);
                var opposite = rises ? SyntaxKind.PostDecrementExpression : SyntaxKind.PostIncrementExpression;
                yield return whole.WithExpression(SyntaxFactory.PostfixUnaryExpression(opposite, postfix.Operand));
                break;
            case ExpressionStatementSyntax { Expression: InvocationExpressionSyntax or AssignmentExpressionSyntax }
                or BreakStatementSyntax or ContinueStatementSyntax or ThrowStatementSyntax or ReturnStatementSyntax { Expression: null }:
                yield return null;
                break;
        }
    }

    static IEnumerable<ExpressionSyntax> OfBinary(BinaryExpressionSyntax binary, SemanticModel model)
    {
        if (binary.IsKind(SyntaxKind.CoalesceExpression)) return binary.Right is ThrowExpressionSyntax ? [] : [binary.Right];
        if (!operators.TryGetValue(binary.Kind(), out var others)) return [];
        if (model.GetTypeInfo(binary).Type is { SpecialType: SpecialType.System_String }) return [];
        return others.Select(kind => (kind, token: Token(kind).WithTriviaFrom(binary.OperatorToken)))
            .Select(other => SyntaxFactory.BinaryExpression(other.kind, binary.Left, other.token, binary.Right));
    }

    // A literal keeps the type that it is converted to, because the conditional expression around it is not a constant.
    static IEnumerable<ExpressionSyntax> OfLiteral(LiteralExpressionSyntax literal, SemanticModel model)
    {
        if (literal.Token.Value is bool truth) return [SyntaxFactory.ParseExpression(truth ? "false" : "true")];
        var isPartOfConstant = literal.Parent is ExpressionSyntax parent && model.GetConstantValue(parent).HasValue;
        if (literal.Token.Value is not int value || isPartOfConstant) return [];
        return [SyntaxFactory.ParseExpression(value == 1 ? "0" : $"{value + 1}")];
    }

    static bool IsCondition(ExpressionSyntax expression) => expression.Parent switch
    {
        IfStatementSyntax statement => statement.Condition == expression,
        ConditionalExpressionSyntax conditional => conditional.Condition == expression,
        BinaryExpressionSyntax { RawKind: (int)SyntaxKind.LogicalAndExpression or (int)SyntaxKind.LogicalOrExpression } => true,
        _ => false,
    };

    static SyntaxToken Token(SyntaxKind kind) => SyntaxFactory.BinaryExpression(kind, Zero, Zero).OperatorToken;

    static LiteralExpressionSyntax Zero => SyntaxFactory.LiteralExpression(SyntaxKind.NumericLiteralExpression, SyntaxFactory.Literal(0));

    static SimpleNameSyntax Renamed(SimpleNameSyntax name, string to) => name.WithIdentifier(SyntaxFactory.Identifier(to));

    static Dictionary<string, string> Both(params (string One, string Other)[] pairs) =>
        pairs.SelectMany(pair => new[] { pair, (One: pair.Other, Other: pair.One) }).ToDictionary(pair => pair.One, pair => pair.Other);
}
